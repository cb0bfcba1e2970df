//! Sends tasks elsewhere once their commit has succeeded.

use std::collections::HashSet;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use events_core::Task;
use events_core::events::log_dispatched;
use events_core::forwarding::Split;
use events_core::transport::ErasedTransport;
use tokio::sync::oneshot;
use tokio::task::JoinError;
use tokio::time::timeout;
use tracing::instrument::{Instrument, WithSubscriber};

use crate::database::EventDatabase;
use crate::error::QueueError;
use crate::transaction::EventTransaction;

/// How long a commit waits for its tasks to be sent.
const PATIENCE: Duration = Duration::from_secs(10);

/// Commits, and then sends. Both go on if the caller goes away: what the database has committed is
/// sent.
pub(crate) async fn commit<Db: EventDatabase>(
    transaction: EventTransaction<Db>,
    tasks: Split,
) -> Result<(), QueueError> {
    let count: usize = tasks.after_commit.iter().map(|(_, tasks)| tasks.len()).sum();
    let (answer, committed) = oneshot::channel();
    let run = async move {
        let result = transaction.commit_split(&tasks).await;
        let succeeded = result.is_ok();
        answer.send(result).ok(); // nobody listens if the caller has gone away
        if succeeded {
            send_all(tasks.after_commit).await;
        }
    };
    let run = tokio::spawn(run.in_current_span().with_current_subscriber());
    match committed.await {
        Ok(result) => result?,
        Err(_) => return Err(unanswered(run.await)),
    }
    if timeout(PATIENCE, run).await.is_err() {
        tracing::warn!(
            tasks = count,
            waited = ?PATIENCE,
            "tasks are still on their way after their commit, which waits no longer; the send goes on"
        );
    }
    Ok(())
}

/// Why the commit has no answer: a panic goes on here, and otherwise the runtime has ended.
fn unanswered(run: Result<(), JoinError>) -> QueueError {
    match run.map_err(JoinError::try_into_panic) {
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        _ => QueueError::CommitInterrupted,
    }
}

/// Transports do not wait for each other.
async fn send_all(tasks: Vec<(Arc<dyn ErasedTransport>, Vec<Task>)>) {
    let sending: Vec<_> = tasks
        .into_iter()
        .map(|(transport, tasks)| {
            let kept = tasks.clone();
            // In a task of its own, so that a panic of the transport is told like its errors.
            let send = async move { transport.send_erased(tasks).await };
            (tokio::spawn(send.in_current_span().with_current_subscriber()), kept)
        })
        .collect();
    for (sent, tasks) in sending {
        match sent.await {
            Ok(Ok(())) => log_dispatched(&tasks),
            Ok(Err(error)) => {
                let unsent: HashSet<_> =
                    error.unsent().iter().map(|unsent| unsent.task.id).collect();
                let sent: Vec<_> =
                    tasks.into_iter().filter(|task| !unsent.contains(&task.id)).collect();
                log_dispatched(&sent);
                for unsent in error.unsent() {
                    log_lost(&unsent.task, &*unsent.error);
                }
            }
            Err(error) => tasks.iter().for_each(|task| log_lost(task, &error)),
        }
    }
}

fn log_lost(task: &Task, error: &(dyn Error + 'static)) {
    tracing::error!(
        event_id = %task.event_id,
        event = &*task.event,
        subscriber = &*task.name,
        task_id = %task.id,
        queue = &*task.queue,
        error,
        "a task could not be sent after its commit and is lost; run its reconciler, and forward its queue through an outbox if that is not enough"
    );
}
