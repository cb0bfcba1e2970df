//! Tasks that the transport refuses, on which it panics or hangs, and what is behind them.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::rows::{Rows, Told};
use crate::Relay;

const LEASE: Duration = Duration::from_secs(15);
const DAY: Duration = Duration::from_hours(24);

/// A relay that runs until what it runs beside is over.
async fn beside<T>(rows: &Rows, transport: &Told, what: impl Future<Output = T>) -> T {
    beside_one_of(64, rows, transport, what).await
}

/// The same, with batches of so many tasks.
async fn beside_one_of<T>(
    batch: usize,
    rows: &Rows,
    transport: &Told,
    what: impl Future<Output = T>,
) -> T {
    let relay = Relay::new(rows.clone(), transport.clone()).batch(batch).lease(LEASE);
    tokio::select! {
        _ = relay.run_until(std::future::pending::<()>()) => unreachable!("it is not told to stop"),
        result = what => result,
    }
}

/// How long it took until it is so, a day at most.
async fn until(is_so: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() && began.elapsed() < DAY {
        sleep(Duration::from_secs(1)).await;
    }
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_refused_task_before_one_on_which_the_transport_panics_holds_up_nothing() {
    let (rows, transport) = (Rows::default(), Told::default());
    rows.commit(1, 1, &["later", "panic"]);
    rows.commit(2, 2, &["good"]);
    rows.commit(3, 3, &["good"]);
    let took = beside(&rows, &transport, until(|| transport.sent().len() == 2)).await;
    assert!(took < Duration::from_mins(1), "{took:?}");
    assert_eq!((rows.dead(), rows.left()), (vec!["panic".into()], vec![vec!["later".into()]]));
}

/// All rows of so many tasks of these names.
fn mixes(names: &[&'static str], tasks: usize) -> Vec<Vec<&'static str>> {
    let mut mixes = vec![Vec::new()];
    for _ in 0..tasks {
        let longer = |mix: &Vec<_>| {
            let with = |name: &&'static str| [mix.clone(), vec![*name]].concat();
            names.iter().map(with).collect::<Vec<_>>()
        };
        mixes = mixes.iter().flat_map(longer).collect();
    }
    mixes
}

fn count(mix: &[&str], name: &str) -> usize {
    mix.iter().filter(|other| **other == name).count()
}

/// A row of these, one behind it, and others now and then: they tell that it is not the transport's
/// fault.
async fn comes_to_its_end(mix: &[&'static str]) {
    let (rows, transport) = (Rows::default(), Told::default());
    rows.commit(1, 1, mix);
    rows.commit(2, 2, &["good, behind"]);
    let good = || {
        let sent = transport.sent().into_iter();
        sent.filter(|name| name.starts_with("good")).collect::<Vec<_>>()
    };
    let (sent, dead) = (count(mix, "good") + 1, count(mix, "panic"));
    let all = || good().len() == sent && rows.dead().len() == dead;
    let others = async {
        for number in 3.. {
            sleep(Duration::from_mins(1)).await;
            rows.commit(number, number, &["other"]);
        }
    };
    beside(&rows, &transport, async {
        tokio::select! {
            () = others => unreachable!("they keep coming"),
            _ = until(all) => {}
        }
    })
    .await;
    assert!(all(), "{mix:?}: sent {:?}, dead {:?}", transport.sent(), rows.dead());
    assert_eq!(good().last().unwrap(), "good, behind", "{mix:?}: in order");
    let left = rows.left().concat().into_iter().filter(|name| name != "other").count();
    assert_eq!(left, mix.len() + 1 - sent - dead, "{mix:?}: nothing else is gone");
}

#[tokio::test(start_paused = true)]
async fn what_can_be_sent_is_sent_in_order_and_what_panics_is_found_among_whatever_is_refused() {
    for tasks in 1..=4 {
        for mix in mixes(&["good", "later", "panic"], tasks) {
            comes_to_its_end(&mix).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_hangs_does_not_hide_the_others() {
    for tasks in 1..=3 {
        for mix in mixes(&["good", "later", "panic", "hang"], tasks) {
            comes_to_its_end(&mix).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn many_refused_rows_that_come_back_do_not_disturb_the_search_for_one_that_panics() {
    let (rows, transport) = (Rows::default(), Told::default());
    // More come back within a second than a batch has.
    (0..400).for_each(|number| rows.commit(number, number, &["later"]));
    rows.commit(400, 400, &["panic"]);
    (401..500).for_each(|number| rows.commit(number, number, &["good"]));
    let all_sent = until(|| transport.sent().len() == 99);
    let took = beside_one_of(4, &rows, &transport, all_sent).await;
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert_eq!(rows.dead(), ["panic"]);
}

#[tokio::test(start_paused = true)]
async fn many_rows_on_which_the_transport_panics_do_not_hide_what_is_behind_them() {
    let (rows, transport) = (Rows::default(), Told::default());
    (0..30).for_each(|number| rows.commit(number, number, &["panic"]));
    rows.commit(30, 30, &["good"]);
    beside(&rows, &transport, async {
        let took = until(|| transport.sent().len() == 1).await;
        assert!(took < Duration::from_hours(1), "{took:?}");
        // Each that is sent lets one more be buried.
        for number in 31.. {
            rows.commit(number, number, &["good"]);
            sleep(Duration::from_mins(10)).await;
            if rows.left().is_empty() {
                break;
            }
            assert!(number < 31 + 24 * 6, "after a day: {}", rows.left().len());
        }
    })
    .await;
    assert_eq!(rows.dead().len(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_away_in_between_does_not_make_dead_letters_of_everything() {
    let (rows, transport) = (Rows::default(), Told::default());
    (0..30).for_each(|number| rows.commit(number, number, &["panic, as on all"]));
    beside(&rows, &transport, async {
        for second in 0..3600 {
            transport.is_away(second % 10 == 0);
            sleep(Duration::from_secs(1)).await;
        }
    })
    .await;
    assert!(rows.dead().len() <= 1, "{:?}", rows.dead());
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_is_refused_everything_task_by_task_leaves_the_outbox_to_another() {
    let (rows, refused, other) = (Rows::default(), Told::default(), Told::default());
    refused.refuse(true);
    rows.commit(1, 1, &["a"]);
    rows.commit(2, 2, &["b", "c"]);
    let took = beside(&rows, &refused, async {
        until(|| rows.holder().is_some()).await;
        beside(&rows, &other, until(|| rows.left().is_empty())).await
    });
    let took = took.await;
    assert!(took >= LEASE * 4 && took < LEASE * 6, "{took:?}");
    assert_eq!(other.sent(), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_is_refused_all_that_keeps_coming_leaves_the_outbox_to_another() {
    let (rows, refused, other) = (Rows::default(), Told::default(), Told::default());
    rows.commit(0, 0, &["a"]);
    let took = beside(&rows, &refused, async {
        until(|| rows.left().is_empty()).await;
        refused.refuse(true); // from now on
        let publish = async {
            for number in 1.. {
                rows.commit(number, number, &["a"]);
                sleep(Duration::from_millis(500)).await;
            }
        };
        tokio::select! {
            () = publish => unreachable!("it goes on"),
            took = beside(&rows, &other, until(|| !other.sent().is_empty())) => took,
        }
    });
    let took = took.await;
    assert!(took >= LEASE * 4 && took < LEASE * 6, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn one_stuck_row_does_not_make_a_relay_give_up_that_has_sent_others() {
    let (rows, transport) = (Rows::default(), Told::default());
    rows.commit(1, 1, &["later"]);
    rows.commit(2, 2, &["good"]);
    beside(&rows, &transport, async {
        until(|| transport.sent().len() == 1).await;
        let began = Instant::now();
        let gone = until(|| rows.holder().is_none() || began.elapsed() > LEASE * 100).await;
        assert!(gone > LEASE * 100, "after {gone:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_stuck_row_in_a_quiet_outbox_changes_hands_once() {
    let (rows, transport) = (Rows::default(), Told::default());
    rows.commit(1, 1, &["good"]);
    beside(&rows, &transport, async {
        until(|| transport.sent().len() == 1).await;
        rows.commit(2, 2, &["later"]);
        sleep(LEASE * 1000).await;
    })
    .await;
    assert!(rows.acquired() <= 2, "{} times", rows.acquired());
}

#[tokio::test(start_paused = true)]
async fn a_task_on_which_the_transport_hangs_holds_up_the_others_for_a_while_only() {
    let (rows, transport) = (Rows::default(), Told::default());
    rows.commit(1, 1, &["hang", "mate"]);
    (2..10).for_each(|number| rows.commit(number, number, &["good"]));
    let took = beside(&rows, &transport, until(|| transport.sent().len() == 9)).await;
    assert!(took < Duration::from_hours(1), "{took:?}");
    assert_eq!(transport.sent()[0], "mate", "in order");
    assert!(rows.dead().is_empty() && rows.left() == [["hang"]]);
    // Whoever publishes then waits for it now and then, and not most of the time.
    let mut late = 0;
    beside(&rows, &transport, async {
        sleep(Duration::from_hours(1)).await;
        for number in 10..110 {
            let sent = transport.sent().len();
            rows.commit(number, number, &["good"]);
            let took = until(|| transport.sent().len() > sent).await;
            late += usize::from(took > Duration::from_mins(1));
            sleep(Duration::from_mins(10)).await;
        }
    })
    .await;
    assert!(late <= 20, "{late} of 100");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_hangs_as_a_whole_has_the_outbox_left_to_another_and_little_put_aside() {
    let (rows, transport) = (Rows::default(), Told::default());
    transport.hang(true);
    (1..=100).for_each(|number| rows.commit(number, number, &["good"]));
    let (mut given_back, mut calls) = (0, 0);
    beside(&rows, &transport, async {
        let began = Instant::now();
        while began.elapsed() < Duration::from_hours(3) {
            until(|| rows.holder().is_none()).await;
            given_back += 1;
            until(|| rows.holder().is_some()).await;
            calls = transport.calls();
        }
        assert!(given_back >= calls - 1, "{given_back} of {calls} calls");
        transport.hang(false);
        let took = until(|| transport.sent().len() >= 90).await;
        assert!(took < Duration::from_mins(10), "{took:?}");
        let took = until(|| rows.left().is_empty()).await;
        assert!(took < Duration::from_hours(1), "{took:?}");
    })
    .await;
    assert!(rows.dead().is_empty());
}
