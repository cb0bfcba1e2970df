//! One call of a transport, whatever it does.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use events_core::Task;
use events_core::transport::{Transport, TransportError};
use futures_util::FutureExt;
use tokio::time::timeout;

use crate::execute::panic_message;

/// In leases: after how long a call that has not come back is told, and is cut off.
const TOLD_AFTER: u32 = 2;
const CUT_OFF_AFTER: u32 = 20;

/// How it ended.
pub(crate) enum Sent {
    Answered(Result<(), TransportError>),
    /// With this text. What was sent, nobody knows.
    Panicked(String),
    /// It did not come back. What was sent, nobody knows.
    CutOff,
}

/// Sends, for as long as may be.
pub(crate) async fn send(
    transport: &impl Transport,
    tasks: Vec<Task>,
    outbox: &str,
    lease: Duration,
) -> Sent {
    let count = tasks.len();
    let sending = async { transport.send(tasks).await };
    let mut sending = pin!(AssertUnwindSafe(sending).catch_unwind());
    let sent = match timeout(lease * TOLD_AFTER, &mut sending).await {
        Ok(sent) => Ok(sent),
        Err(_) => {
            tracing::warn!(
                outbox,
                tasks = count,
                "a batch is under way for long; is its broker reachable? if it is only slow, give the relay a smaller batch"
            );
            timeout(lease * (CUT_OFF_AFTER - TOLD_AFTER), sending).await
        }
    };
    match sent {
        Ok(Ok(answer)) => Sent::Answered(answer),
        Ok(Err(panic)) => Sent::Panicked(panic_message(&*panic)),
        Err(_) => {
            tracing::error!(
                outbox,
                tasks = count,
                "a batch was cut off, for the transport did not come back from it; its tasks are sent again, fewer at once"
            );
            Sent::CutOff
        }
    }
}
