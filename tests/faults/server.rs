//! The database server of a run, and what it suffers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use private_postgres::{Database, Mode, Server, Settings};
use sqlx::PgPool;
use tokio::task::spawn_blocking;

use crate::Error;
use crate::application::TABLES;
use crate::schedule::Restart;

/// The name under which the run itself connects, so that its sessions are not those terminated.
const NAME: &str = "fault-run";

/// A server whose commits survive a crash, with one database.
pub struct Durable {
    database: Database,
    server: Server,
    /// When it was away, from and to.
    away: Mutex<Vec<(Instant, Instant)>>,
}

impl Durable {
    pub async fn start() -> Result<Arc<Self>, Error> {
        let started = spawn_blocking(|| {
            let server = Server::start(Settings { durable: true, ..Settings::default() })?;
            let database = server.create_database();
            server.psql(database.name(), TABLES)?;
            Ok::<_, private_postgres::Error>(Self { database, server, away: Mutex::default() })
        });
        Ok(Arc::new(started.await??))
    }

    pub fn url(&self) -> String {
        self.database.url()
    }

    /// For the run's own connections.
    pub fn own_url(&self) -> String {
        format!("{}?application_name={NAME}", self.url())
    }

    /// Takes the server down and up again. Blocks.
    pub fn restart(&self, how: Restart) -> Result<(), private_postgres::Error> {
        let down = Instant::now();
        match how {
            Restart::Fast => self.server.stop(Mode::Fast)?,
            Restart::Immediate => self.server.stop(Mode::Immediate)?,
            Restart::Crash => self.server.kill()?,
        }
        self.server.start_again()?;
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.push((down, Instant::now()));
        Ok(())
    }

    /// When it was away, from and to.
    pub fn away(&self) -> Vec<(Instant, Instant)> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Ends the session of somebody who is connected. Whether there was one.
pub async fn terminate(pool: &PgPool, backend: u64) -> Result<bool, sqlx::Error> {
    const CONNECTED: &str = "SELECT pid FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND application_name <> 'fault-run'
            AND datname = current_database() ORDER BY backend_start, pid";
    let connected: Vec<i32> = sqlx::query_scalar(CONNECTED).fetch_all(pool).await?;
    let Some(which) = backend.checked_rem(connected.len() as u64) else { return Ok(false) };
    let which = usize::try_from(which).expect("one of them");
    sqlx::query_scalar("SELECT pg_terminate_backend($1)")
        .bind(connected[which])
        .fetch_one(pool)
        .await
}
