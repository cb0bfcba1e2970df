//! Celery's queues on Redis keep the contract.

use events_celery::{CeleryBroker, CelerySession};
use events_core::Events;
use events_core::broker::BrokerError;
use events_testing::contract::Harness;

pub(crate) struct Redis(CeleryBroker);

impl Harness for Redis {
    type Broker = CeleryBroker;
    type Session = CelerySession;

    async fn start(events: Events) -> Self {
        let options = crate::world::redis();
        Self(CeleryBroker::connect(&options, &events).await.expect("Redis is there"))
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
