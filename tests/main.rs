//! Behaviour of the whole, through the public API.
//!
//! | module        | promises                                                              |
//! |---------------|-----------------------------------------------------------------------|
//! | `ping`        | the canonical example: one event, one subscriber, one publisher        |
//! | `fan_out`     | many subscribers, many sessions, savepoints                            |
//! | `foreign`     | subscribers whose handlers are in other programs                         |
//! | `handlers`    | arguments, failures, panics, time limits, retries, the current event   |
//! | `troubles`    | brokers that are away                                                  |
//! | `workers`     | queues, shutdown, unknown tasks, lost leases                           |
//! | `contracts`   | the contract suite, per broker                                         |
//! | `celery`      | Celery's queues on Redis, beside real Celery                           |
//! | `crashes`     | real processes, really killed and stopped                              |
//! | `outbox`      | tasks sent elsewhere: after the commit, or by a relay, through any trouble |
//! | `faults`      | many processes on PostgreSQL under a schedule of faults                |
//! | `round_trips` | every allowed type survives JSON                                       |
//! | `schedule`    | reconcilers at their cadence, delays, debounce, with workers            |
//! | `lost_events` | the check that reconcilers make up for lost events, green and red         |
//! | `wiring`      | registry errors, coverage green and red                                |
//! | `imports`     | which crate may import which                                           |
#![recursion_limit = "256"] // futures within futures, of the tests beside Celery
#![allow(unreachable_pub, reason = "a test program exports nothing")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    clippy::needless_pass_by_value,
    clippy::unused_async,
    reason = "handlers take their event by value and may be async without waiting"
)]

mod celery;
mod contracts;
mod crashes;
mod fan_out;
mod faults;
mod foreign;
mod handlers;
mod imports;
mod logs;
mod lost_events;
mod model;
mod outbox;
mod ping;
mod round_trips;
mod schedule;
mod troubles;
mod wiring;
mod workers;
mod world;
