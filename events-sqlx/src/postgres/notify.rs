//! Tells other processes that there are new tasks, and hears it from them.
//!
//! Never in the publisher's transaction: a `NOTIFY` there takes a lock at commit that all
//! databases of the server share. It is sent after the commit, on a connection of our own, and many
//! commits make one. It is a hint: who misses it polls.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgPool};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::own::Own;
use crate::error::QueueError;
use crate::signal::Signal;

/// Commits within this time after an announcement share the next.
const DEBOUNCE: Duration = Duration::from_millis(5);

/// After a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a listener hears nothing before it asks whether its connection is still there, and
/// waits for the answer.
const SILENCE: Duration = Duration::from_secs(20);
const ANSWER: Duration = Duration::from_secs(5);

/// After the flush of a joined session, whose commit nobody sees, others are told to look.
const EXPECTED: [u64; 5] = [5, 20, 50, 125, 300];

/// The tasks that announce and listen, started when they are needed and ended with the queue.
#[derive(Debug)]
pub(super) struct Messenger {
    channel: String,
    listen: Option<PgConnectOptions>,
    announcing: Running,
    expecting: Running,
    listening: Running,
}

#[derive(Debug, Default)]
struct Running(Mutex<Option<JoinHandle<()>>>);

impl Running {
    /// It may have ended with the runtime that it was started on.
    fn ensure<F: Future<Output = ()> + Send + 'static>(&self, run: impl FnOnce() -> F) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if running.as_ref().is_none_or(JoinHandle::is_finished) {
            *running = Some(tokio::spawn(run()));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(running) = self.0.get_mut().unwrap_or_else(PoisonError::into_inner) {
            running.abort();
        }
    }
}

impl Messenger {
    pub(super) fn new(channel: String, listen: Option<PgConnectOptions>) -> Self {
        Self {
            channel,
            listen,
            announcing: Running::default(),
            expecting: Running::default(),
            listening: Running::default(),
        }
    }

    pub(super) fn ensure_announcing(&self, own: &PgPool, signal: &Arc<Signal>) {
        self.announcing.ensure(|| announce(own.clone(), self.channel.clone(), signal.clone()));
        self.expecting.ensure(|| expect(signal.clone()));
    }

    pub(super) fn ensure_listening(&self, signal: &Arc<Signal>) {
        if let Some(options) = &self.listen {
            let options = options.clone();
            self.listening.ensure(|| listen(options, self.channel.clone(), signal.clone()));
        }
    }
}

async fn announce(own: PgPool, channel: String, signal: Arc<Signal>) {
    loop {
        signal.announcement().await;
        let sent = timeout(ANSWER, notify(&own, &channel)).await;
        match sent.unwrap_or(Err(QueueError::NoAnswer { waited: ANSWER })) {
            Ok(()) => sleep(DEBOUNCE).await,
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "others could not be told of new tasks; they find them by polling"
                );
                sleep(PAUSE).await;
            }
        }
    }
}

async fn notify(own: &PgPool, channel: &str) -> Result<(), QueueError> {
    const STEP: &str = "tell others of new tasks";
    let mut connection = Own::acquire(own, STEP).await?;
    // In one message it takes one round trip, and is one transaction; a hint need not be on the disk,
    // and must not make the commits of publishers wait until it is. A channel's name is a plain
    // identifier.
    let sql = format!("SET LOCAL synchronous_commit = off; NOTIFY \"{channel}\"");
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(sql)))
        .await
        .map_err(|error| QueueError::database(STEP, error))?;
    connection.finish();
    Ok(())
}

async fn expect(signal: Arc<Signal>) {
    loop {
        signal.expectation().await;
        for pause in EXPECTED {
            sleep(Duration::from_millis(pause)).await;
            signal.notify();
        }
    }
}

async fn listen(options: PgConnectOptions, channel: String, signal: Arc<Signal>) {
    let options = options.disable_statement_logging();
    let mut troubled = false;
    loop {
        match hear(options.clone(), &channel, &signal, &mut troubled).await {
            // Cut off; what was missed, a look finds.
            Ok(()) => signal.hear(),
            Err(error) => {
                // Once for each trouble, however long it lasts.
                if !std::mem::replace(&mut troubled, true) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot listen for new tasks; workers find them by polling meanwhile"
                    );
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// Each listener has a pool of its own: it keeps its connection, and one that is cut off may wait
/// for long to say goodbye.
async fn connect(options: PgConnectOptions, channel: &str) -> Result<PgListener, sqlx::Error> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false)
        .connect_lazy_with(options);
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.ignore_pool_close_event(true);
    listener.listen(channel).await?;
    Ok(listener)
}

/// Hears until the connection is gone.
async fn hear(
    options: PgConnectOptions,
    channel: &str,
    signal: &Signal,
    troubled: &mut bool,
) -> Result<(), sqlx::Error> {
    let connected = timeout(ANSWER, connect(options, channel)).await;
    let mut listener = connected.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
    if std::mem::replace(troubled, false) {
        tracing::info!("listening for new tasks again");
    }
    signal.hear(); // what came before it listened
    loop {
        match timeout(SILENCE, listener.try_recv()).await {
            Ok(Ok(Some(_))) => signal.hear(),
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let asked = sqlx::query("SELECT 1").execute(&mut listener);
                match timeout(ANSWER, asked).await {
                    Ok(answer) => {
                        answer?;
                    }
                    Err(_) => return Err(sqlx::Error::PoolTimedOut),
                }
            }
        }
    }
}
