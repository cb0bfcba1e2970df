//! What a relay does when its database is not what it was: another server has taken over that had
//! not seen the last commits, and gives their numbers to others.

use std::time::Duration;

use events_core::Forwarding;
use events_testing::ManualClock;

use super::database::{Database, on_each_database};
use super::transport::Recorder;
use super::{Running, elsewhere, events, publish, until};
use crate::logs::Logs;

on_each_database! {
    a_commit_that_was_given_the_number_of_a_sent_one_is_sent_too,
    what_was_read_ahead_of_an_error_of_the_database_is_read_again,
}

async fn publish_one<D: Database>(queue: &D::Queue, number: u32) {
    let mut session = D::begin(queue).await;
    publish(&mut session, 1, number);
    session.commit().await.unwrap();
}

/// Nobody tells when a relay has read the next batch.
async fn reads_ahead() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

async fn a_commit_that_was_given_the_number_of_a_sent_one_is_sent_too<D: Database>(database: D) {
    let clock = ManualClock::new();
    let queue = database.open(&events(&clock), vec![Forwarding::outbox(elsewhere())]).await;
    let transport = Recorder::new();
    transport.hold();
    publish_one::<D>(&queue, 1).await;
    let _relay = Running::start(&queue, &transport);
    transport.has_sent(1).await; // and not recorded
    reads_ahead().await;
    clock.advance(Duration::from_secs(1));
    publish_one::<D>(&queue, 2).await;
    let (outbox, columns) = (D::OUTBOX, D::COLUMNS);
    let statements = format!(
        "DELETE FROM {outbox} WHERE id = (SELECT min(id) FROM {outbox});
        INSERT INTO {outbox} (id, {columns}) {} SELECT id - 1, {columns} FROM {outbox};
        DELETE FROM {outbox} WHERE id = (SELECT max(id) FROM {outbox})",
        D::WITH_NUMBER
    );
    D::execute(&queue, &statements).await;
    transport.release();
    transport.has_sent(2).await;
    assert_eq!(transport.numbers(), [(1, 1), (1, 2)]);
    until("it is deleted", async || D::count(&queue, outbox).await == 0).await;
}

async fn what_was_read_ahead_of_an_error_of_the_database_is_read_again<D: Database>(database: D) {
    let events = events(&ManualClock::new());
    let queue = database.open(&events, vec![Forwarding::outbox(elsewhere())]).await;
    let transport = Recorder::new();
    transport.hold();
    for number in 1..=2 {
        publish_one::<D>(&queue, number).await;
    }
    let (logs, _guard) = Logs::capture();
    let relay = events_runtime::Relay::new(queue.clone(), transport.clone()).batch(1);
    let changed = async {
        transport.has_sent(1).await;
        reads_ahead().await;
        let (schema, table) = D::OUTBOX.rsplit_once('.').unwrap_or(("", D::OUTBOX));
        let moved = format!("{schema}{}moved", if schema.is_empty() { "" } else { "." });
        D::execute(&queue, &format!("ALTER TABLE {} RENAME TO moved", D::OUTBOX)).await;
        transport.release();
        until("it is told", async || logs.has("WARN", &["could not be read or written"])).await;
        let newest = format!("DELETE FROM {moved} WHERE id = (SELECT max(id) FROM {moved})");
        D::execute(&queue, &newest).await;
        D::execute(&queue, &format!("ALTER TABLE {moved} RENAME TO {table}")).await;
        publish_one::<D>(&queue, 3).await;
        until("all is sent", async || transport.numbers().contains(&(1, 3))).await;
    };
    relay.run_until(changed).await.unwrap(); // on this thread, whose logs are captured
    assert_eq!(transport.numbers(), [(1, 1), (1, 3)], "not what is there no more");
}
