//! How PostgreSQL executes the statements: never by reading the backlog, whether it knows of it or
//! not, nor what is left of a backlog that is gone.

use events_core::Events;
use private_postgres::{Database, Server, Settings};
use sqlx::postgres::PgArguments;
use sqlx::types::Uuid;
use sqlx::{Arguments, AssertSqlSafe, PgConnection, SqlStr};

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

fn worker() -> Uuid {
    Uuid::from_u128(1)
}

fn given(
    build: impl FnOnce(&mut PgArguments) -> Result<(), sqlx::error::BoxDynError>,
) -> PgArguments {
    let mut arguments = PgArguments::default();
    build(&mut arguments).unwrap();
    arguments
}

impl Plans<'_> {
    async fn explain(&mut self, sql: &SqlStr, arguments: PgArguments) -> String {
        let sql = AssertSqlSafe(format!("EXPLAIN {}", sql.as_str()));
        let lines: Vec<(String,)> =
            sqlx::query_as_with(sql, arguments).fetch_all(&mut *self.connection).await.unwrap();
        self.seen += 1;
        lines.into_iter().map(|(line,)| line + "\n").collect()
    }

    /// Explains, and checks that nothing reads the tasks from end to end.
    async fn sought(&mut self, sql: &SqlStr, arguments: PgArguments) -> String {
        let plan = self.explain(sql, arguments).await;
        let costly = ["Seq Scan on tasks", "Bitmap Index Scan on tasks_waiting"];
        for step in costly {
            assert!(!plan.contains(step), "{}: {sql:?}\n{plan}", self.state);
        }
        plan
    }

    /// Explains, and checks that each task is looked up by its worker and its number: what else the
    /// worker runs, and what it has completed since the last vacuum, is not read.
    async fn looked_up(&mut self, sql: &SqlStr, arguments: PgArguments) {
        let plan = self.sought(sql, arguments).await;
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
        let claim = |arguments: &mut PgArguments| {
            arguments.add(worker())?;
            arguments.add(7_i64)?;
            arguments.add(2_000_000_i64)?;
            arguments.add(100_i64)
        };
        for start in [i64::MIN, 900_000] {
            let arguments = given(|arguments| {
                claim(arguments)?;
                arguments.add("lane")?;
                arguments.add(0_i16)?;
                arguments.add(start)
            });
            let plan = self.sought(&sql.claim_from_one, arguments).await;
            assert!(plan.contains("using tasks_waiting"), "{}: {plan}", self.state);
            assert!(!plan.contains("Sort"), "{}: {plan}", self.state);

            let lanes = vec!["lane".to_owned(), "lane-10".to_owned(), "empty".to_owned()];
            let priorities = vec![0_i16; 3];
            let starts = vec![start; 3];
            let arguments = given(|arguments| {
                claim(arguments)?;
                arguments.add(&lanes)?;
                arguments.add(&priorities)?;
                arguments.add(&starts)
            });
            let plan = self.sought(&sql.claim_from_many, arguments).await;
            assert!(plan.contains("using tasks_waiting"), "{}: {plan}", self.state);
            // Only of what was found: what a lane is read by comes from the index in its order.
            assert_eq!(plan.matches("Sort  (").count(), 1, "{}: {plan}", self.state);
            let sort = plan.find("Sort  (").unwrap();
            let locks = plan.find("LockRows").unwrap();
            assert!(sort < locks, "{}: {plan}", self.state);

            let arguments = given(|arguments| {
                arguments.add(worker())?;
                arguments.add(&lanes)?;
                arguments.add(&priorities)?;
                arguments.add(&starts)
            });
            let plan = self.sought(&sql.next, arguments).await;
            assert!(plan.contains("using tasks_waiting"), "{}: {plan}", self.state);
            assert!(!plan.contains("Sort"), "{}: {plan}", self.state);
        }
        let plan = self.sought(&sql.scan, given(|arguments| arguments.add(worker()))).await;
        assert_eq!(plan.matches("using tasks_waiting").count(), 2, "{}: {plan}", self.state);
        assert!(!plan.contains("Sort"), "{}: {plan}", self.state);
    }

    async fn check_settlements(&mut self, queue: &PostgresQueue) {
        let sql = queue.inner.sql();
        for count in [1, 100, 500] {
            let seqs: Vec<i64> = (1..=count).map(|seq| seq * 1000).collect();
            let texts = vec!["{}"; seqs.len()];
            let receipts = |arguments: &mut PgArguments| {
                arguments.add(&seqs)?;
                arguments.add(&seqs)?;
                arguments.add(worker())
            };
            self.looked_up(&sql.complete, given(receipts)).await;
            let released = |arguments: &mut PgArguments| {
                receipts(arguments)?;
                arguments.add(&seqs)
            };
            self.looked_up(&sql.release, given(released)).await;
            let failed = |arguments: &mut PgArguments| {
                released(arguments)?;
                arguments.add(&texts)
            };
            self.looked_up(&sql.retry, given(failed)).await;
            let buried = |arguments: &mut PgArguments| {
                receipts(arguments)?;
                arguments.add(&texts)?;
                arguments.add(0_i64)
            };
            self.looked_up(&sql.bury, given(buried)).await;
            self.looked_up(&sql.unsettled, given(receipts)).await;
            self.looked_up(&sql.settleable, given(receipts)).await;
            let again = |arguments: &mut PgArguments| {
                arguments.add(&seqs)?;
                arguments.add(vec![worker(); seqs.len()])?;
                arguments.add(&seqs)?;
                arguments.add(&texts)
            };
            self.looked_up(&sql.offer_again, given(again)).await;
        }
        let one = |arguments: &mut PgArguments| {
            arguments.add(1_i64)?;
            arguments.add(1_i64)?;
            arguments.add(worker())
        };
        self.looked_up(&sql.complete_one, given(one)).await;
    }

    async fn check_rescues(&mut self, queue: &PostgresQueue) {
        let sql = queue.inner.sql();
        for sql in [&sql.gone, &sql.held] {
            let plan = self.sought(sql, given(|_| Ok(()))).await;
            assert!(plan.contains("tasks_running"), "{}: {plan}", self.state);
        }
        let gone = given(|arguments| arguments.add(vec![Uuid::from_u128(2)]));
        let plan = self.sought(&sql.orphans, gone).await;
        assert!(plan.contains("tasks_running"), "{}: {plan}", self.state);
        let doubts = |arguments: &mut PgArguments| {
            arguments.add(worker())?;
            arguments.add(vec![1_i64, 2, 3])
        };
        let plan = self.sought(&sql.release_claims, given(doubts)).await;
        assert!(plan.contains("tasks_running"), "{}: {plan}", self.state);
        let registered = |arguments: &mut PgArguments| {
            arguments.add(worker())?;
            arguments.add(0_i64)?;
            arguments.add(0_i64)?;
            arguments.add("{}")
        };
        self.sought(&sql.register, given(registered)).await;
    }
}

async fn run(connection: &mut PgConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
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
    assert!(seen > 100, "{seen}");
}
