use std::thread;
use std::time::{Duration, Instant};

use crate::database::Database;
use crate::error::{Error, fail};
use crate::process::Redis;
use crate::server::Server;
use crate::settings::Settings;

const PATIENCE: Duration = Duration::from_mins(1);
/// How many milliseconds a server may be silent before the sentinels call it down: longer than a busy
/// machine holds up one that is alive, and short while one was killed.
const DOWN_AFTER: &str = "5000";
const DOWN_AFTER_A_KILL: &str = "200";

/// Two servers, a master and its replica, and the sentinels that watch them.
///
/// ```no_run
/// let sentinel = private_redis::Sentinel::start(3)?;
/// sentinel.master().cli(&["SET", "name", "value"])?;
/// sentinel.fail_over()?;
/// sentinel.replica().start_again()?; // what was the master, and was killed, follows the new one
/// # Ok::<(), private_redis::Error>(())
/// ```
#[derive(Debug)]
pub struct Sentinel {
    sentinels: Vec<(Redis, Database)>,
    servers: [Server; 2],
}

impl Sentinel {
    /// The name under which the sentinels know the master.
    pub const MASTER_NAME: &'static str = "master";

    /// Starts two servers and so many sentinels, and waits until all know each other. The majority of
    /// them decides on a failover.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start(count: usize) -> Result<Self, Error> {
        let master = Server::start(Settings::default().set("repl-diskless-sync-delay", "0"))?;
        let of_master = format!("127.0.0.1 {}", master.port());
        let replica = Server::start(Settings::default().set("replicaof", &of_master))?;
        // Sentinels ask for replicas when they start, and then every ten seconds.
        wait_until(|| Ok(master.cli(&["INFO", "replication"])?.contains("state=online")))?;
        let monitor = format!("{} {of_master} {}", Self::MASTER_NAME, count / 2 + 1);
        let mut sentinels = Vec::new();
        for _ in 0..count {
            sentinels.push(start(&monitor)?);
        }
        let sentinel = Self { sentinels, servers: [master, replica] };
        let others = count.saturating_sub(1).to_string();
        wait_until(|| {
            sentinel.all_say(&["SENTINEL", "MASTER", Self::MASTER_NAME], |answer| {
                let lines: Vec<_> = answer.lines().collect();
                let says =
                    |name: &str, value: &str| lines.windows(2).any(|pair| *pair == [name, value]);
                says("num-slaves", "1") && says("num-other-sentinels", &others)
            })
        })?;
        Ok(sentinel)
    }

    /// Where the sentinels listen, as `127.0.0.1:PORT`.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.sentinels.iter().map(|(_, of)| format!("127.0.0.1:{}", of.port)).collect()
    }

    /// The broker's URL for Celery, whose transport option `master_name` is then
    /// [`MASTER_NAME`](Self::MASTER_NAME).
    #[must_use]
    pub fn url(&self, database: u32) -> String {
        let urls =
            self.addresses().into_iter().map(|address| format!("sentinel://{address}/{database}"));
        urls.collect::<Vec<_>>().join(";")
    }

    /// The server that the first sentinel calls the master.
    ///
    /// # Panics
    /// Panics if it cannot be asked.
    #[must_use]
    pub fn master(&self) -> &Server {
        &self.servers[self.index_of_master()]
    }

    /// The other server, which may be down.
    ///
    /// # Panics
    /// Panics if the sentinel cannot be asked.
    #[must_use]
    pub fn replica(&self) -> &Server {
        &self.servers[1 - self.index_of_master()]
    }

    /// Kills the master and waits until every sentinel names the other server and that takes writes.
    /// What the master had not yet sent to its replica is lost.
    ///
    /// # Errors
    /// Returns [`Error`] if there is no running replica, or it is not made the master.
    pub fn fail_over(&self) -> Result<(), Error> {
        let (master, next) = (self.master(), self.replica());
        if next.pid().is_none() {
            return Err(Error::WrongState { remedy: "there is no replica; start it again first" });
        }
        wait_until(|| Ok(next.cli(&["INFO", "replication"])?.contains("master_link_status:up")))?;
        master.kill()?;
        self.down_after(DOWN_AFTER_A_KILL)?;
        let port = next.port().to_string();
        let outcome = wait_until(|| {
            let query = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::MASTER_NAME];
            Ok(self.all_say(&query, |answer| answer.lines().nth(1) == Some(&*port))?
                && next.cli(&["ROLE"])?.starts_with("master"))
        });
        self.down_after(DOWN_AFTER)?;
        outcome
    }

    fn down_after(&self, milliseconds: &str) -> Result<(), Error> {
        let name = Self::MASTER_NAME;
        let set = ["SENTINEL", "SET", name, "down-after-milliseconds", milliseconds];
        self.all_say(&set, |answer| answer == "OK").map(drop)
    }

    fn index_of_master(&self) -> usize {
        let (_, first) = &self.sentinels[0];
        let query = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::MASTER_NAME];
        let answer = first.cli(&query).unwrap_or_else(|error| fail(&error));
        let port = answer.lines().nth(1).and_then(|port| port.parse().ok());
        self.servers
            .iter()
            .position(|server| Some(server.port()) == port)
            .expect("the sentinel knows these two servers and no other")
    }

    fn all_say(&self, query: &[&str], expected: impl Fn(&str) -> bool) -> Result<bool, Error> {
        for (_, sentinel) in &self.sentinels {
            if !expected(&sentinel.cli(query)?) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn start(monitor: &str) -> Result<(Redis, Database), Error> {
    let mut redis = Redis::prepare(&["--sentinel"])?;
    let (port, name) = (redis.port.number(), Sentinel::MASTER_NAME);
    redis.configure(&[
        format!("port {port}"),
        format!("sentinel monitor {monitor}"),
        format!("sentinel down-after-milliseconds {name} {DOWN_AFTER}"),
        format!("sentinel failover-timeout {name} 3000"),
    ])?;
    redis.start()?;
    let binaries = redis.binaries.clone();
    Ok((redis, Database { binaries, port, number: 0, password: None, authority: None }))
}

/// Sentinel closes the connections of a server that it makes a replica: that is no answer yet.
fn wait_until(mut condition: impl FnMut() -> Result<bool, Error>) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = condition();
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let log = "the sentinels and the servers do not agree in time".to_owned();
            return answer.and(Err(Error::NotReady { log }));
        }
        thread::sleep(Duration::from_millis(20));
    }
}
