//! PostgreSQL keeps the contract.

use events_core::Events;
use events_core::broker::BrokerError;
use events_sqlx::{EventTransaction, Postgres, PostgresQueue};
use events_testing::contract::Harness;
use private_postgres::Database;

pub(crate) struct PostgresDatabase {
    queue: PostgresQueue,
    _database: Database,
}

impl Harness for PostgresDatabase {
    type Broker = PostgresQueue;
    type Session = EventTransaction<Postgres>;

    async fn start(events: Events) -> Self {
        let (queue, database) = crate::world::postgres(&events).await;
        Self { queue, _database: database }
    }

    fn broker(&self) -> &PostgresQueue {
        &self.queue
    }

    async fn begin(&self) -> EventTransaction<Postgres> {
        self.queue.begin().await.expect("begins")
    }

    async fn commit(&self, session: EventTransaction<Postgres>) -> Result<(), BrokerError> {
        session.commit().await.map_err(|error| BrokerError::new("commit the session", error))
    }

    async fn rollback(&self, session: EventTransaction<Postgres>) {
        session.rollback().await.expect("rolls back");
    }
}

events_testing::broker_contract!(PostgresDatabase);
