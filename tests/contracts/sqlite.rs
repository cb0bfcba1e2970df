//! SQLite keeps the contract.

use events_core::Events;
use events_core::broker::BrokerError;
use events_sqlx::{EventTransaction, Sqlite, SqliteQueue};
use events_testing::contract::Harness;

pub(crate) struct SqliteFile {
    queue: SqliteQueue,
    _folder: tempfile::TempDir,
}

impl Harness for SqliteFile {
    type Broker = SqliteQueue;
    type Session = EventTransaction<Sqlite>;

    async fn start(events: Events) -> Self {
        let (queue, folder) = crate::world::sqlite(&events).await;
        Self { queue, _folder: folder }
    }

    fn broker(&self) -> &SqliteQueue {
        &self.queue
    }

    async fn begin(&self) -> EventTransaction<Sqlite> {
        self.queue.begin().await.expect("begins")
    }

    async fn commit(&self, session: EventTransaction<Sqlite>) -> Result<(), BrokerError> {
        session.commit().await.map_err(|error| BrokerError::new("commit the session", error))
    }

    async fn rollback(&self, session: EventTransaction<Sqlite>) {
        session.rollback().await.expect("rolls back");
    }
}

events_testing::broker_contract!(SqliteFile);
