//! How SQLite executes the statements: never by reading the backlog.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use events_core::Events;
use sqlx::Row;

use super::{SqliteQueue, admin, claim, lanes, outbox, rescue, settle};

/// What `EXPLAIN QUERY PLAN` says, with and without statistics.
async fn plans(sql: &'static str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let events = Events::builder().build().unwrap();
    let queue = SqliteQueue::open(directory.path().join("app.db"), &events).await.unwrap();
    let mut plans = Vec::new();
    for prepare in ["SELECT 1", "ANALYZE"] {
        sqlx::raw_sql(prepare).execute(queue.pool()).await.unwrap();
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let rows = sqlx::query(explain).fetch_all(queue.pool()).await.unwrap();
        let steps: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        plans.push(steps.join("\n"));
    }
    plans
}

/// The steps of all plans that read something from end to end, or sort.
async fn costly(sql: &'static str) -> Vec<String> {
    let plans = plans(sql).await.join("\n");
    let steps = plans.lines().filter(|step| step.starts_with("SCAN") || step.contains("TEMP"));
    steps.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_claim_from_one_lane_seeks_and_never_sorts() {
    assert_eq!(costly(claim::CLAIM_FROM_ONE).await, [""; 0]);
    for plan in plans(claim::CLAIM_FROM_ONE).await {
        assert!(plan.contains("(leased_by=? AND queue=? AND priority=? AND due_at<?)"), "{plan}");
    }
}

#[tokio::test]
async fn a_claim_from_many_lanes_seeks_in_each_and_sorts_only_what_it_found() {
    let each = ["SCAN lane VIRTUAL TABLE INDEX 1:", "USE TEMP B-TREE FOR ORDER BY"];
    assert_eq!(costly(claim::CLAIM_FROM_MANY).await, [each, each].concat());
    for plan in plans(claim::CLAIM_FROM_MANY).await {
        assert!(plan.contains("(leased_by=? AND queue=? AND priority=? AND due_at<?)"), "{plan}");
    }
}

#[tokio::test]
async fn a_look_for_lanes_jumps_from_head_to_head() {
    for plan in plans(lanes::SCAN).await {
        assert!(plan.contains("(leased_by=? AND (queue,priority,due_at)>(?,?,?))"), "{plan}");
        assert!(!plan.contains("SCAN events_tasks") && !plan.contains("SCAN next"), "{plan}");
    }
}

#[tokio::test]
async fn settling_and_rescuing_look_up_only_the_tasks_they_are_given() {
    for sql in [settle::COMPLETE, settle::RETRY, settle::RELEASE] {
        assert_eq!(costly(sql).await, ["SCAN given VIRTUAL TABLE INDEX 1:"; 2], "{sql}");
    }
    // `held` are the tasks that were given: counted, and looked up.
    let held = ["SCAN given VIRTUAL TABLE INDEX 1:", "USE TEMP B-TREE FOR DISTINCT"];
    let all = [&held[..], &["SCAN held", "SCAN held"]].concat();
    assert_eq!(costly(settle::COMPLETE_ALL).await, [all.clone(), all].concat());
    assert_eq!(costly(rescue::OFFER_AGAIN).await, ["SCAN json_each VIRTUAL TABLE INDEX 1:"; 2]);
    assert_eq!(costly(rescue::ORPHANS).await, [""; 0]);
}

#[tokio::test]
async fn counts_read_indexes_and_no_task() {
    for plan in plans(admin::COUNTS).await {
        for step in plan.lines().filter(|step| step.contains("events_")) {
            assert!(step.contains("COVERING INDEX"), "{plan}");
        }
    }
}

#[tokio::test]
async fn a_relay_finds_the_end_of_its_batch_in_the_index_and_reads_only_what_is_in_it() {
    for plan in plans(outbox::READ).await {
        assert!(plan.contains("COVERING INDEX events_outbox_rows (outbox=?)"), "{plan}");
        assert!(
            plan.contains("SEARCH events_outbox USING INTEGER PRIMARY KEY (rowid=?)"),
            "{plan}"
        );
        assert!(!plan.contains("SCAN events_outbox"), "{plan}");
    }
    for plan in plans(outbox::DELETE).await {
        assert!(plan.contains("(outbox=? AND id=?)") || plan.contains("(rowid=?)"), "{plan}");
        assert!(!plan.contains("SCAN events_outbox"), "{plan}");
    }
    for sql in [outbox::BACKLOG, outbox::BACKLOGS] {
        for plan in plans(sql).await {
            assert!(plan.contains("COVERING INDEX events_outbox_rows"), "{plan}");
        }
    }
}

/// How many tens of steps SQLite's virtual machine takes for a statement, with a backlog of so
/// many tasks due and as many for later, in one lane.
async fn steps(sql: &'static str, backlog: i64) -> usize {
    const FILL: &str = "
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2 * ?1)
        INSERT INTO events_tasks (task_id, event_id, event, name, queue, priority, due_at,
            published_at, payload)
        SELECT x'00', x'00', 'event', 'name', 'lane', 0, i + (i > ?1) * 1000000, i, '{}' FROM n";
    let directory = tempfile::tempdir().unwrap();
    let events = Events::builder().build().unwrap();
    let queue = SqliteQueue::open(directory.path().join("app.db"), &events).await.unwrap();
    let mut connection = queue.pool().acquire().await.unwrap();
    sqlx::query(FILL).bind(backlog).execute(&mut *connection).await.unwrap();
    sqlx::raw_sql("INSERT INTO events_workers VALUES (x'00', 0, 0, 0, 0, '')")
        .execute(&mut *connection)
        .await
        .unwrap();
    let steps = Arc::new(AtomicUsize::new(0));
    let count = steps.clone();
    connection.lock_handle().await.unwrap().set_progress_handler(10, move || {
        count.fetch_add(1, Ordering::SeqCst);
        true
    });
    let lanes = if sql.contains("json_each(?4)") { r#"[["lane",0],["empty",0]]"# } else { "lane" };
    let query = sqlx::query(sql).bind(vec![0_u8]);
    let query = match sql {
        lanes::SCAN => query,
        _ => query.bind(1_000_000_i64).bind(10).bind(lanes).bind(0),
    };
    query.fetch_all(&mut *connection).await.unwrap();
    steps.load(Ordering::SeqCst)
}

#[tokio::test]
async fn a_claim_takes_as_many_steps_with_a_large_backlog_as_with_a_small_one() {
    for sql in [claim::CLAIM_FROM_ONE, claim::CLAIM_FROM_MANY, lanes::SCAN] {
        let (small, large) = (steps(sql, 20).await, steps(sql, 20_000).await);
        assert!(small > 0 && large <= small + 1, "{small} and {large} for {sql}");
    }
}
