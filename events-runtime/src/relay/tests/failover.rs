//! Another server takes over while nobody looks: the numbers of rows are those of others.

use std::time::Duration;

use tokio::time::sleep;

use super::rows::{Rows, Told};
use crate::Relay;

async fn beside<T>(relay: Relay<Rows, Told>, what: impl Future<Output = T>) -> T {
    tokio::select! {
        _ = relay.run_until(std::future::pending::<()>()) => unreachable!("it is not told to stop"),
        result = what => result,
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_a_failover_during_a_send_is_not_sent_after_it() {
    let (rows, transport) = (Rows::default(), Told::default());
    rows.commit(1, 1, &["slow"]);
    rows.commit(2, 2, &["lost"]);
    let relay = Relay::new(rows.clone(), transport.clone()).batch(1);
    beside(relay, async {
        sleep(Duration::from_secs(1)).await;
        rows.fail_over();
        rows.commit(2, 3, &["kept"]);
        sleep(Duration::from_secs(3)).await;
    })
    .await;
    assert_eq!(transport.sent(), ["slow", "kept"]);
    assert!(rows.left().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_failed_is_enough_to_read_again() {
    let (rows, transport) = (Rows::default(), Told::default());
    rows.commit(1, 1, &["later"]);
    let relay = Relay::new(rows.clone(), transport.clone()).lease(Duration::from_secs(15));
    beside(relay, async {
        sleep(Duration::from_mins(2)).await; // by now it is left out for half a minute
        rows.renewals_fail(true);
        rows.fail_over();
        rows.commit(1, 2, &["kept"]);
        sleep(Duration::from_secs(8)).await;
        rows.renewals_fail(false);
        assert_eq!(transport.sent(), ["kept"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_number_of_a_refused_row_does_not_hold_up_another_row_after_a_failover() {
    let (rows, transport) = (Rows::default(), Told::default());
    rows.commit(1, 1, &["later"]);
    let relay = Relay::new(rows.clone(), transport.clone());
    beside(relay, async {
        sleep(Duration::from_mins(2)).await; // by now it is left out for half a minute
        let calls = transport.calls();
        while transport.calls() == calls {
            sleep(Duration::from_millis(100)).await;
        }
        rows.commit(2, 2, &["slow"]);
        sleep(Duration::from_millis(1_500)).await;
        rows.fail_over();
        rows.commit(1, 3, &["kept"]);
        sleep(Duration::from_secs(4)).await;
    })
    .await;
    assert!(transport.sent().contains(&"kept".into()), "{:?}", transport.sent());
}

#[tokio::test(start_paused = true)]
async fn many_refused_rows_stay_aside_however_slow_the_sends_are() {
    let (rows, transport) = (Rows::default(), Told::default());
    (0..8).for_each(|number| rows.commit(number, number, &["later, and slow"]));
    rows.commit(8, 8, &["slow"]);
    let relay = Relay::new(rows.clone(), transport.clone()).batch(2);
    beside(relay, sleep(Duration::from_mins(10))).await;
    assert_eq!(transport.sent(), ["slow"]);
}
