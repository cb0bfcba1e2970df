//! Transactions that write at the same time, which only PostgreSQL has: one waits for the other where
//! it matters, and what is derived is right whoever comes first.

use std::process::Stdio;
use std::time::Duration;

use stewardship::database::{Connection, Queue};
use stewardship::inheritance;
use stewardship::replay::{fresh, open_database};
use stewardship::repositories::{
    Session, connections, links, monitors, operations, system_stewards, systems, users,
};

use crate::harness::{Ended, Workspace};

/// A database in which the monitors `m1` and `m2` watch `s1` over `c1`, and `ann` is its steward.
/// Nothing is derived yet.
async fn world() -> (Workspace, Queue) {
    let workspace = Workspace::with_log("");
    let (_, queue) = open_database(&workspace.location()).await.unwrap();
    let mut session = queue.begin().await.unwrap();
    users::create(&mut session, "ann").await.unwrap();
    users::create(&mut session, "bob").await.unwrap();
    for system in ["s1", "s2"] {
        systems::create(&mut session, system).await.unwrap();
    }
    connections::create(&mut session, "c1").await.unwrap();
    for monitor in ["m1", "m2"] {
        monitors::create(&mut session, monitor, Some("c1"), true).await.unwrap();
    }
    links::link(&mut session, "s1", "c1").await.unwrap();
    system_stewards::add(&mut session, "s1", "ann").await.unwrap();
    session.commit().await.unwrap();
    (workspace, queue)
}

/// Waits until so many statements wait for a lock that another transaction has.
async fn wait_for_waiting(connection: &mut Connection, count: i64) {
    loop {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .fetch_one(&mut *connection)
        .await
        .unwrap();
        if waiting >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await; // a lock has nothing to wait upon
    }
}

async fn converge_system(session: &mut Session, system: &str) -> inheritance::Converged {
    let taken = inheritance::take_monitors_of_system(session, system).await.unwrap();
    inheritance::converge(session, &taken).await.unwrap()
}

#[tokio::test]
async fn a_handler_waits_for_the_one_before_it_and_repairs_what_that_one_did_not_know() {
    let (workspace, queue) = world().await;
    let mut observer = workspace.database.connect().await;
    let mut earlier = queue.begin().await.unwrap();
    assert_eq!(converge_system(&mut earlier, "s1").await.added, 2);
    // The steward leaves; the earlier handler, which has not committed, has given her to monitors.
    let mut change = queue.begin().await.unwrap();
    system_stewards::remove(&mut change, "s1", "ann").await.unwrap();
    change.commit().await.unwrap();
    let mut later = queue.begin().await.unwrap();
    let mut later = tokio::spawn(async move {
        let converged = converge_system(&mut later, "s1").await;
        later.commit().await.unwrap();
        converged
    });
    tokio::select! {
        () = wait_for_waiting(&mut observer, 1) => {}
        ended = &mut later => panic!("the later handler did not wait: {ended:?}"),
    }
    earlier.commit().await.unwrap();
    assert_eq!(later.await.unwrap().removed, 2);
    assert!(fresh::differences(queue.pool()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_monitor_that_is_being_converged_may_be_written_about() {
    let (_workspace, queue) = world().await;
    let mut handler = queue.begin().await.unwrap();
    converge_system(&mut handler, "s1").await;
    let mut session = queue.begin().await.unwrap();
    operations::complete(&mut session, "m1", "check", &[]).await.unwrap();
    session.commit().await.unwrap();
    handler.commit().await.unwrap();
}

#[tokio::test]
async fn of_two_who_set_the_systems_of_a_user_one_has_the_last_word() {
    let (workspace, queue) = world().await;
    let mut observer = workspace.database.connect().await;
    let mut first = queue.begin().await.unwrap();
    system_stewards::set_managed_systems(&mut first, "bob", &["s1"]).await.unwrap();
    let mut second = queue.begin().await.unwrap();
    let mut second = tokio::spawn(async move {
        system_stewards::set_managed_systems(&mut second, "bob", &["s2"]).await.unwrap();
        second.commit().await.unwrap();
    });
    tokio::select! {
        () = wait_for_waiting(&mut observer, 1) => {}
        ended = &mut second => panic!("the second did not wait: {ended:?}"),
    }
    first.commit().await.unwrap();
    second.await.unwrap();
    let systems: Vec<String> =
        sqlx::query_scalar("SELECT system_id FROM system_managers WHERE user_id = 'bob'")
            .fetch_all(queue.pool())
            .await
            .unwrap();
    assert_eq!(systems, ["s2"]);
}

#[tokio::test]
async fn a_line_that_is_the_victim_of_a_deadlock_is_applied_again() {
    let workspace = Workspace::with_lines(&[
        r#"{"op":"create_monitor","key":"m1","connection_config_id":null,"inherit_system_stewards":false}"#,
        r#"{"op":"create_monitor","key":"m2","connection_config_id":null,"inherit_system_stewards":false}"#,
        r#"{"op":"transaction","rollback":false,"ops":[{"op":"set_inheritance","key":"m2","enabled":true},{"op":"set_inheritance","key":"m1","enabled":true}]}"#,
    ]);
    let (_, queue) = open_database(&workspace.location()).await.unwrap();
    let mut observer = workspace.database.connect().await;
    let mut session = queue.begin().await.unwrap();
    for monitor in ["m1", "m2"] {
        monitors::create(&mut session, monitor, None, false).await.unwrap();
    }
    session.commit().await.unwrap();
    // Takes the monitors the other way round, as a handler does that has several of them.
    let mut handler = queue.begin().await.unwrap();
    inheritance::take_monitor(&mut handler, "m1").await.unwrap();
    let mut replay = workspace.command(&[]);
    let replay = replay.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut replay = tokio::task::spawn_blocking(|| replay.wait_with_output().unwrap());
    tokio::select! {
        () = wait_for_waiting(&mut observer, 1) => {} // the line has m2 and waits for m1
        ended = &mut replay => panic!("the replay did not wait: {ended:?}"),
    }
    // The line has waited longer: PostgreSQL looks at it first, and makes it the victim.
    inheritance::take_monitor(&mut handler, "m2").await.unwrap();
    handler.commit().await.unwrap();
    let ended = Ended::from(replay.await.unwrap());
    ended.assert_converged(2); // the monitors were there already
    assert_eq!(ended.number("events published"), 2);
}
