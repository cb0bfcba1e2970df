//! Warns about what is wrong with the queue as a whole.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use events_core::broker::Broker;
use events_core::health::Concern;
use tokio::time::{Instant, timeout};

/// Before the same trouble is told again.
const REMIND: Duration = Duration::from_mins(15);

/// What a trouble is about: its kind, and the queue or the outbox if it is one's.
type Subject = (Discriminant<Concern>, String);

/// Remembers what was told.
#[derive(Debug, Default)]
pub(crate) struct Checkup(HashMap<Subject, Instant>);

impl Checkup {
    /// Looks at the queue's health, and warns about what is new or was not told for long.
    pub(crate) async fn look<B: Broker>(&mut self, broker: &B, patience: Duration) {
        match timeout(patience, broker.health()).await {
            Ok(Ok(health)) => self.warn(&health.concerns(), Instant::now()),
            Ok(Err(error)) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the queue's health could not be looked at; trying again in a minute"
            ),
            Err(_) => tracing::warn!(
                error = format!("no answer within {patience:?}"),
                "the queue's health could not be looked at; trying again in a minute"
            ),
        }
    }

    fn warn(&mut self, concerns: &[Concern], now: Instant) {
        let subjects: Vec<_> = concerns.iter().map(subject).collect();
        // Trouble that has gone and comes back is new.
        self.0.retain(|subject, _| subjects.contains(subject));
        for (concern, subject) in concerns.iter().zip(subjects) {
            let told = self.0.get(&subject);
            if told.is_none_or(|told| now.duration_since(*told) >= REMIND) {
                self.0.insert(subject, now);
                tracing::warn!(%concern, "the queue needs attention");
            }
        }
    }
}

fn subject(concern: &Concern) -> Subject {
    let about = match concern {
        Concern::QueueWithoutWorker(queue) | Concern::LongWait(queue) => queue.queue.clone(),
        Concern::SilentWorker(worker) => worker.worker.to_string(),
        Concern::OutboxWithoutRelay(outbox) | Concern::OutboxWaits(outbox) => outbox.outbox.clone(),
        _ => String::new(),
    };
    (discriminant(concern), about)
}

#[cfg(test)]
mod tests {
    use super::*;
    use events_core::health::QueueHealth;

    fn unserved(queue: &str) -> Concern {
        Concern::QueueWithoutWorker(QueueHealth {
            queue: queue.into(),
            oldest_waiting: Duration::from_hours(1),
            workers: 0,
        })
    }

    #[test]
    fn each_trouble_is_told_once_and_then_now_and_then() {
        let mut checkup = Checkup::default();
        let start = Instant::now();
        let told = |checkup: &Checkup, at| checkup.0.values().filter(|told| **told == at).count();
        checkup.warn(&[unserved("mail"), unserved("slow")], start);
        assert_eq!(told(&checkup, start), 2);
        let later = start + REMIND / 2;
        checkup.warn(&[unserved("mail")], later);
        assert_eq!((told(&checkup, later), checkup.0.len()), (0, 1), "told already");
        checkup.warn(&[unserved("mail"), unserved("slow")], later);
        assert_eq!(told(&checkup, later), 1, "what comes back is new");
        let much_later = start + REMIND;
        checkup.warn(&[unserved("mail"), unserved("slow")], much_later);
        assert_eq!(told(&checkup, much_later), 1, "a reminder");
    }
}
