//! How PostgreSQL executes the statements: never by reading the backlog, whether it knows of it or
//! not, nor what is left of a backlog that is gone.

use events_core::Events;
use private_postgres::{Database, Server, Settings};
use sqlx::{AssertSqlSafe, PgConnection, Row, SqlStr};

use super::PostgresQueue;

/// Tasks of one worker run, and of one that is gone; the others wait, most of them in one lane.
const FILL: &str = "
INSERT INTO events.workers VALUES ('00000000-0000-0000-0000-000000000001', 0, 0, 1, 0, '{}');
INSERT INTO events.tasks (task_id, event_id, event, name, queue, priority, due_at, published_at,
    payload, leased_by)
SELECT '00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000000', 'event',
    'name', CASE WHEN i % 10 = 0 THEN 'lane-' || i % 70 ELSE 'lane' END, 0, i, i,
    '{\"text\":\"something that takes some room in the row\"}',
    CASE WHEN i % 5000 < 2
        THEN ('00000000-0000-0000-0000-00000000000' || 1 + i % 2)::uuid END
FROM generate_series(1, 1000000) AS i";

const COMPLETE_ALL: &str = "DELETE FROM events.tasks";

/// The statements that workers send all the time, with what they are sent with.
struct Plans<'c> {
    connection: &'c mut PgConnection,
    /// What the table is like.
    state: &'static str,
    seen: usize,
}

impl Plans<'_> {
    /// The plan that the connection's settings lead to: one for all arguments.
    async fn explain(&mut self, sql: &SqlStr) -> String {
        let sql = sql.as_str();
        let arguments = (1..10).take_while(|number| sql.contains(&format!("${number}"))).count();
        let given = vec!["NULL"; arguments].join(", ");
        let given = if given.is_empty() { given } else { format!("({given})") };
        run(self.connection, format!("PREPARE explained AS {sql}")).await;
        let explain = AssertSqlSafe(format!("EXPLAIN EXECUTE explained {given}"));
        let rows = sqlx::raw_sql(explain).fetch_all(&mut *self.connection).await.unwrap();
        run(self.connection, "DEALLOCATE explained").await;
        self.seen += 1;
        rows.into_iter().map(|row| row.get::<String, _>(0) + "\n").collect()
    }

    /// Explains, and checks that nothing reads the tasks from end to end.
    async fn sought(&mut self, sql: &SqlStr) -> String {
        let plan = self.explain(sql).await;
        let costly = ["Seq Scan on tasks", "Bitmap Index Scan on tasks_waiting"];
        for step in costly {
            assert!(!plan.contains(step), "{}: {sql:?}\n{plan}", self.state);
        }
        plan
    }

    /// Explains, and checks that each task is looked up by its worker and its number: what else the
    /// worker runs, and what it has completed since the last vacuum, is not read.
    async fn looked_up(&mut self, sql: &SqlStr) {
        let plan = self.sought(sql).await;
        let lookups: Vec<_> = plan.lines().filter(|line| line.contains("Index Cond")).collect();
        let by_both = |line: &&str| line.contains("leased_by = ") && line.contains("seq = ");
        assert!(!lookups.is_empty(), "{}: {sql:?}\n{plan}", self.state);
        assert!(lookups.iter().all(by_both), "{}: {sql:?}\n{plan}", self.state);
        assert!(plan.contains("using tasks_running"), "{}: {sql:?}\n{plan}", self.state);
    }

    async fn check(&mut self, queue: &PostgresQueue) {
        self.check_claims(queue).await;
        self.check_settlements(queue).await;
        self.check_rescues(queue).await;
    }

    async fn check_claims(&mut self, queue: &PostgresQueue) {
        let sql = queue.inner.sql();
        let plan = self.sought(&sql.claim_from_one).await;
        assert!(plan.contains("using tasks_waiting"), "{}: {plan}", self.state);
        assert!(!plan.contains("Sort"), "{}: {plan}", self.state);

        let plan = self.sought(&sql.claim_from_many).await;
        assert!(plan.contains("using tasks_waiting"), "{}: {plan}", self.state);
        // Only of what was found: what a lane is read by comes from the index in its order.
        assert_eq!(plan.matches("Sort  (").count(), 1, "{}: {plan}", self.state);
        let sort = plan.find("Sort  (").unwrap();
        let locks = plan.find("LockRows").unwrap();
        assert!(sort < locks, "{}: {plan}", self.state);

        let plan = self.sought(&sql.next).await;
        assert!(plan.contains("using tasks_waiting"), "{}: {plan}", self.state);
        assert!(!plan.contains("Sort"), "{}: {plan}", self.state);

        let plan = self.sought(&sql.release_debounced).await;
        assert!(plan.contains("using debounced_due"), "{}: {plan}", self.state);
        assert!(plan.contains("using tasks_debounced"), "{}: {plan}", self.state);

        let plan = self.sought(&sql.scan).await;
        assert!(plan.contains("using debounced_due"), "{}: {plan}", self.state);
        assert_eq!(plan.matches("using tasks_waiting").count(), 2, "{}: {plan}", self.state);
        assert!(!plan.contains("Sort"), "{}: {plan}", self.state);
    }

    async fn check_settlements(&mut self, queue: &PostgresQueue) {
        let sql = queue.inner.sql();
        for sql in [
            &sql.complete,
            &sql.complete_and_keep,
            &sql.complete_one,
            &sql.release,
            &sql.retry,
            &sql.bury,
            &sql.unsettled,
            &sql.settleable,
            &sql.offer_again,
        ] {
            self.looked_up(sql).await;
        }
    }

    async fn check_rescues(&mut self, queue: &PostgresQueue) {
        let sql = queue.inner.sql();
        for sql in [&sql.gone, &sql.held, &sql.orphans, &sql.release_claims] {
            let plan = self.sought(sql).await;
            assert!(plan.contains("tasks_running"), "{}: {plan}", self.state);
        }
        self.sought(&sql.register).await;
    }
}

async fn run(connection: &mut PgConnection, sql: impl Into<String>) {
    sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(connection).await.unwrap();
}

async fn queue(server: &Server) -> (PostgresQueue, Database) {
    let database = server.create_database();
    let events = Events::builder().build().unwrap();
    let queue = PostgresQueue::connect(&database.url(), &events).await.unwrap();
    (queue, database)
}

/// With the settings of the queue's own connections, and its real parameters.
#[tokio::test]
async fn no_statement_of_a_worker_reads_a_backlog_or_what_one_has_left() {
    // What is known of the table is to change when this says so.
    let server = Server::start(Settings::default().set("autovacuum", "off")).unwrap();
    let (queue, _database) = queue(&server).await;
    let mut own = queue.inner.own.acquire().await.unwrap();
    // Filling takes longer than a statement of the queue's own may.
    run(&mut own, "SET statement_timeout = 0").await;
    let mut seen = 0;
    for (state, change) in [
        ("a million tasks, of which nothing is known", FILL),
        ("a million tasks", "ANALYZE events.tasks"),
        ("a million completions, of which nothing is known", COMPLETE_ALL),
        ("a million completions", "ANALYZE events.tasks"),
    ] {
        run(&mut own, change).await;
        let mut plans = Plans { connection: &mut own, state, seen: 0 };
        plans.check(&queue).await;
        seen += plans.seen;
    }
    assert!(seen >= 76, "{seen}");
}

/// What is known of the table may be nothing, as long as it was filled just now.
#[tokio::test]
async fn no_statement_of_a_relay_reads_the_outbox_from_end_to_end() {
    const FILL: &str = "INSERT INTO events.outbox (outbox, tasks, published_at, body)
        SELECT 'default', 1, 0, '[]' FROM generate_series(1, 50000)";
    let server = Server::start(Settings::default().set("autovacuum", "off")).unwrap();
    let (queue, _database) = queue(&server).await;
    let mut own = queue.inner.own.acquire().await.unwrap();
    for (state, change) in [
        ("an outbox of which nothing is known", FILL),
        ("a full outbox", "ANALYZE events.outbox"),
        ("an outbox that was full", "DELETE FROM events.outbox"),
    ] {
        run(&mut own, change).await;
        let mut plans = Plans { connection: &mut own, state, seen: 0 };
        let sql = queue.inner.sql();
        for sql in [&sql.read_outbox, &sql.delete_sent] {
            let plan = plans.explain(sql).await;
            assert!(plan.contains("using outbox_pkey"), "{state}: {plan}");
            assert!(!plan.contains("Seq Scan on outbox"), "{state}: {plan}");
            assert!(!plan.contains("SubPlan") || plan.contains("hashed SubPlan"), "{plan}");
        }
    }
}
