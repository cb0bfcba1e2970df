//! How a program hears that it is to end.

/// Resolves when this program is asked to end: on Unix at SIGTERM, which a supervisor, `docker stop` and
/// Kubernetes send, and at SIGINT (Ctrl-C); elsewhere at Ctrl-C.
///
/// It is what a service's workers and relays run until. They then let what runs finish, which a process
/// that a signal ends by itself does not:
///
/// ```no_run
/// # use events_core::prelude::*;
/// # use events_runtime::MemoryQueue;
/// use events_runtime::{Worker, shutdown_signal};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let events = Events::builder().build()?;
/// # let queue = MemoryQueue::new(&events);
/// Worker::builder(&events, queue).build()?.run_until(shutdown_signal()).await?;
/// # Ok(()) }
/// ```
///
/// Any number may wait, each is told. From the first wait on, and for as long as the process lives, these
/// signals do not end it by themselves any more. A second signal, sent by somebody who cannot wait, is
/// heard by who waits anew: `select!` the end of the program with another `shutdown_signal()`, begun after
/// the first.
///
/// If the system refuses to tell of a signal, a warning says so: that signal then ends the process as it
/// would without this function, and the other one is still heard.
///
/// # Panics
/// Outside a tokio runtime, or in one without `enable_io` or `enable_all`; `#[tokio::main]` has it.
pub async fn shutdown_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::SignalKind;
        tokio::select! {
            () = sent(SignalKind::terminate()) => {}
            () = sent(SignalKind::interrupt()) => {}
        }
    }
    #[cfg(not(unix))]
    if let Err(error) = tokio::signal::ctrl_c().await {
        never(&error).await;
    }
}

#[cfg(unix)]
async fn sent(kind: tokio::signal::unix::SignalKind) {
    match tokio::signal::unix::signal(kind) {
        Ok(mut signals) => {
            signals.recv().await;
        }
        Err(error) => never(&error).await,
    }
}

/// Not to stop is right: nobody has asked for it.
async fn never(error: &std::io::Error) {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "a signal cannot be listened to: it ends this program at once, and what runs is not finished"
    );
    std::future::pending::<()>().await;
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::Duration;

    use tokio::signal::unix::SignalKind;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_signal_that_cannot_be_listened_to_asks_for_nothing() {
        let refused = SignalKind::from_raw(9); // SIGKILL, which nobody may handle
        let asked = timeout(Duration::from_millis(50), sent(refused)).await;
        assert!(asked.is_err(), "it resolved, and nobody has sent it");
    }
}
