//! Connections to Redis: made when needed, thrown away when they break, made again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use std::{fmt, io};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, Pipeline};
use tokio::time::{Instant, sleep_until};

use crate::error::{CeleryError, NoConnection, code};
use crate::source::Source;

/// Between two tries to connect: doubles with every failure.
const RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(2);

/// The one connection of many callers, whose commands it sends in the order in which they come.
#[derive(Debug)]
pub(crate) struct Link {
    source: Source,
    response_timeout: Duration,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// Grows with every connection, so that an error is charged to the one that it came from.
    number: u64,
    failures: u32,
    not_before: Option<Instant>,
    /// The try that is under way.
    connecting: Option<Connecting>,
}

/// A try to connect, with the connection's number. All who need one wait for the same try, and are told
/// the same. It is made by a task of its own, for a caller may be slow to look what came of it.
type Connecting = Shared<BoxFuture<'static, Result<(u64, MultiplexedConnection), NoConnection>>>;

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("number", &self.number).finish_non_exhaustive()
    }
}

impl State {
    /// Notes what came of a try.
    fn made(
        &mut self,
        made: Result<MultiplexedConnection, NoConnection>,
        address: &str,
    ) -> Result<(u64, MultiplexedConnection), NoConnection> {
        match made {
            Ok(connection) => {
                if self.failures > 0 {
                    tracing::info!(address, "Redis is reached again");
                }
                self.failures = 0;
                self.not_before = None;
                self.number += 1;
                self.connection = Some(connection.clone());
                Ok((self.number, connection))
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                let pause = RETRY.saturating_mul(1 << self.failures.min(10)).min(LONGEST_RETRY);
                let pause = pause.mul_f64(0.5 + 0.5 * fastrand::f64());
                self.not_before = Some(Instant::now() + pause);
                Err(error)
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes room for the next try, however this one ended.
struct Trying(Weak<Mutex<State>>);

impl Drop for Trying {
    fn drop(&mut self) {
        if let Some(state) = self.0.upgrade() {
            lock(&state).connecting = None;
        }
    }
}

/// A script that Redis runs as a whole.
#[derive(Debug)]
pub(crate) struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    pub(crate) fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }
}

impl Link {
    pub(crate) fn new(source: Source, response_timeout: Duration) -> Arc<Self> {
        Arc::new(Self { source, response_timeout, state: Arc::default() })
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    async fn connection(&self) -> Result<(u64, MultiplexedConnection), CeleryError> {
        let connecting = {
            let mut state = lock(&self.state);
            if let Some(connection) = &state.connection {
                return Ok((state.number, connection.clone()));
            }
            let not_before = state.not_before;
            state.connecting.get_or_insert_with(|| self.connect(not_before)).clone()
        };
        Ok(connecting.await?)
    }

    fn connect(&self, not_before: Option<Instant>) -> Connecting {
        let (source, response_timeout) = (self.source.clone(), self.response_timeout);
        let trying = Trying(Arc::downgrade(&self.state));
        let state = Arc::downgrade(&self.state);
        let try_once = async move {
            let _trying = trying;
            if let Some(not_before) = not_before {
                sleep_until(not_before).await;
            }
            let made = source.connect(Some(response_timeout)).await;
            match state.upgrade() {
                Some(state) => lock(&state).made(made, source.name()),
                None => made.map(|connection| (0, connection)), // nobody is there any more
            }
        };
        let address = self.source.name().to_owned();
        let connecting = async move {
            // Not before: a runtime that has ended drops it at once, which locks the state.
            let try_once = tokio::spawn(try_once);
            // A panic of the driver's, or the end of the runtime.
            let ended = |error| NoConnection::failed(&address, io::Error::other(error).into());
            try_once.await.unwrap_or_else(|error| Err(ended(error)))
        };
        connecting.boxed().shared()
    }

    fn note(&self, number: u64, error: &redis::RedisError) {
        // A replica that was the master, or a node that lost the slot, is of no use any more either.
        let useless = error.is_io_error()
            || error.is_connection_dropped()
            || error.is_unrecoverable_error()
            || matches!(code(error).as_deref(), Some("READONLY" | "MOVED"));
        if useless {
            let mut state = lock(&self.state);
            if state.number == number {
                state.connection = None;
            }
        }
    }

    /// Sends one command. Not again if the connection breaks: whether it was done is unknown then.
    pub(crate) async fn command<T: FromRedisValue>(
        &self,
        action: &'static str,
        command: &Cmd,
    ) -> Result<T, CeleryError> {
        let (number, mut connection) = self.connection().await?;
        match command.query_async(&mut connection).await {
            Ok(answer) => Ok(answer),
            Err(error) => {
                self.note(number, &error);
                Err(CeleryError::command(action, error))
            }
        }
    }

    /// Sends several commands at once.
    pub(crate) async fn pipeline<T: FromRedisValue>(
        &self,
        action: &'static str,
        pipeline: &Pipeline,
    ) -> Result<T, CeleryError> {
        let (number, mut connection) = self.connection().await?;
        match pipeline.query_async(&mut connection).await {
            Ok(answer) => Ok(answer),
            Err(error) => {
                self.note(number, &error);
                Err(CeleryError::command(action, error))
            }
        }
    }

    /// Sends several commands at once, each of which may fail for itself.
    pub(crate) async fn pipeline_each(
        &self,
        action: &'static str,
        mut pipeline: Pipeline,
    ) -> Result<Vec<Result<i64, CeleryError>>, CeleryError> {
        let (number, mut connection) = self.connection().await?;
        let pipeline = pipeline.ignore_errors();
        let answers: Result<Vec<redis::RedisResult<i64>>, _> =
            pipeline.query_async(&mut connection).await;
        let answers = match answers {
            Ok(answers) => answers,
            Err(error) => {
                self.note(number, &error);
                return Err(CeleryError::command(action, error));
            }
        };
        for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            self.note(number, error);
        }
        let told = |answer: redis::RedisResult<i64>| {
            answer.map_err(|error| CeleryError::command(action, error))
        };
        Ok(answers.into_iter().map(told).collect())
    }

    /// Runs a script. `give` adds the number of keys, the keys, and the arguments.
    pub(crate) async fn script<T: FromRedisValue>(
        &self,
        action: &'static str,
        script: &Script,
        give: impl FnOnce(&mut Cmd),
    ) -> Result<T, CeleryError> {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&script.hash);
        give(&mut command);
        match self.command(action, &command).await {
            Err(error) if error.code() == Some("NOSCRIPT") => {
                // A server that was started anew, or another one, does not know it.
                self.command::<()>(action, redis::cmd("SCRIPT").arg("LOAD").arg(script.text))
                    .await?;
                self.command(action, &command).await
            }
            answer => answer,
        }
    }
}
