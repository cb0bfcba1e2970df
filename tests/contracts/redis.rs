//! Celery's queues on Redis keep the contract.

use events_celery::{CeleryBroker, CeleryOptions, CelerySession};
use events_core::broker::BrokerError;
use events_core::{Events, TaskId};
use events_testing::contract::Harness;
use private_redis::Server;

pub(crate) struct Redis(CeleryBroker);

impl Harness for Redis {
    type Broker = CeleryBroker;
    type Session = CelerySession;

    async fn start(events: Events) -> Self {
        let prefix = format!("{}:", TaskId::generate());
        let options = CeleryOptions::new().key_prefix(prefix);
        let url = Server::shared().url();
        Self(options.connect(&url, &events).await.expect("Redis is there"))
    }

    fn broker(&self) -> &CeleryBroker {
        &self.0
    }

    async fn begin(&self) -> CelerySession {
        self.0.begin()
    }

    async fn commit(&self, session: CelerySession) -> Result<(), BrokerError> {
        session.commit().await
    }

    async fn rollback(&self, session: CelerySession) {
        drop(session);
    }
}

events_testing::broker_contract!(Redis);
