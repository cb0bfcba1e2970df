//! Servers and databases.

use std::fs::{self, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use private_postgres::{Error, Mode, Server, Settings};

const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%at work%' \
                        AND pid <> pg_backend_pid()";

fn wait_for_a_session_at_work(server: &Server) {
    while server.psql("postgres", SESSIONS).expect("the server is up") == "0" {}
}

#[test]
fn databases_are_separate() {
    let server = Server::shared();
    let (one, other) = (server.create_database(), server.create_database());
    server.psql(one.name(), "CREATE TABLE here ()").unwrap();
    assert!(server.psql(other.name(), "SELECT FROM here").is_err());
}

#[test]
fn databases_are_made_by_many_threads_at_once() {
    let server = Server::shared();
    let make = || server.create_database().name().to_owned();
    let mut names: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 8);
}

#[test]
fn database_goes_with_its_value_though_somebody_is_connected() {
    let server = Server::start(Settings::default()).unwrap();
    let database = server.create_database();
    let name = database.name().to_owned();
    thread::scope(|scope| {
        let session = scope.spawn(|| server.psql(&name, "SELECT 'at work', pg_sleep(3600)"));
        wait_for_a_session_at_work(&server);
        drop(database);
        assert!(session.join().unwrap().is_err());
    });
    let left = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(server.psql("postgres", &left).unwrap(), "0");
}

#[test]
fn two_servers_at_once_know_nothing_of_each_other() {
    let one = Server::start(Settings::default()).unwrap();
    let other = Server::start(Settings::default()).unwrap();
    one.psql("postgres", "CREATE TABLE here ()").unwrap();
    assert!(other.psql("postgres", "SELECT FROM here").is_err());
}

#[test]
fn restart_keeps_the_data_and_the_address() {
    let server = Server::start(Settings::default()).unwrap();
    let database = server.create_database();
    let (url, pid) = (database.url(), server.pid());
    server.psql(database.name(), "CREATE TABLE kept AS SELECT 42 AS number").unwrap();
    server.restart().unwrap();
    assert_eq!(server.psql(database.name(), "SELECT number FROM kept").unwrap(), "42");
    assert_eq!(database.url(), url);
    assert_ne!(server.pid(), pid);
}

#[test]
fn durable_server_keeps_what_was_committed_before_a_crash() {
    let server = Server::start(Settings { durable: true, ..Settings::default() }).unwrap();
    server.psql("postgres", "CREATE TABLE kept AS SELECT 42 AS number").unwrap();
    // It computes without a look at anything else, so that only a signal ends it.
    let busy = "SELECT 'at work', count(*) FROM generate_series(1, 1000000000000)";
    thread::scope(|scope| {
        let session = scope.spawn(|| server.psql("postgres", busy));
        wait_for_a_session_at_work(&server);
        server.kill().unwrap();
        assert!(session.join().unwrap().is_err());
    });
    assert_eq!(server.pid(), None);
    assert!(server.psql("postgres", "SELECT 1").is_err());
    server.start_again().unwrap();
    assert_eq!(server.psql("postgres", "SELECT number FROM kept").unwrap(), "42");
}

/// A session that begins in the middle of the crash may wait for a lock in shared memory whose holder
/// is dead, for ever.
#[test]
fn crash_takes_sessions_along_that_have_just_begun() {
    // Not in a scope: if the promise is broken, these threads do not end.
    let server = Arc::new(Server::start(Settings::default()).unwrap());
    server.psql("postgres", "CREATE TABLE written (number integer)").unwrap();
    let folder = server.psql("postgres", "SHOW unix_socket_directories").unwrap();
    let socket = Path::new(&folder).join(".s.PGSQL.5432");
    let over = Arc::new(AtomicBool::new(false));
    for _ in 0..8 {
        let (socket, over) = (socket.clone(), over.clone());
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let _ = write_a_row(&socket); // the server is away now and then
            }
        });
    }
    for crash in 1..=10 {
        thread::sleep(Duration::from_millis(100));
        let (dead, death) = mpsc::channel();
        let crashing = server.clone();
        thread::spawn(move || dead.send(crashing.kill().is_ok()));
        let death = death.recv_timeout(Duration::from_secs(30));
        assert_eq!(death, Ok(true), "crash {crash} leaves somebody alive");
        server.start_again().unwrap();
    }
    over.store(true, Ordering::Relaxed);
}

/// A session of one statement, by the protocol: psql takes too long to start.
fn write_a_row(socket: &Path) -> io::Result<()> {
    let mut session = UnixStream::connect(socket)?;
    session.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut message = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0".to_vec();
    let mut startup = u32::try_from(message.len() + 4).expect("short").to_be_bytes().to_vec();
    startup.append(&mut message);
    session.write_all(&startup)?;
    let statement = b"INSERT INTO written VALUES (1)\0";
    let length = u32::try_from(statement.len() + 4).expect("short").to_be_bytes();
    session.write_all(&[b"Q", &length[..], statement, b"X\0\0\0\x04"].concat())?;
    session.read_to_end(&mut Vec::new()).map(drop)
}

#[test]
fn server_that_ended_of_itself_is_noticed() {
    let server = Server::start(Settings::default()).unwrap();
    let pid = server.pid().unwrap().to_string();
    let ends = format!("COPY (SELECT) TO PROGRAM 'kill -QUIT {pid}'");
    let _ = server.psql("postgres", &ends); // the session ends as well
    while server.pid().is_some() {
        thread::yield_now();
    }
    server.start_again().unwrap();
    assert_ne!(server.pid().unwrap().to_string(), pid);
}

#[test]
fn stopped_server_says_what_to_call_first() {
    let server = Server::start(Settings::default()).unwrap();
    assert!(matches!(server.start_again(), Err(Error::WrongState { .. })));
    for mode in [Mode::Smart, Mode::Fast, Mode::Immediate] {
        server.stop(mode).unwrap();
        assert!(matches!(server.kill(), Err(Error::WrongState { .. })));
        server.start_again().unwrap();
    }
}

#[test]
fn data_directory_that_was_given_outlives_its_server() {
    let folder = tempfile::tempdir().unwrap();
    // Whoever runs the server must be able to come in.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let settings =
        Settings { data_directory: Some(folder.path().join("new/data")), ..Settings::default() };
    let server = Server::start(settings.clone()).unwrap();
    server.psql("postgres", "CREATE TABLE kept ()").unwrap();
    drop(server);
    let server = Server::start(settings).unwrap();
    server.psql("postgres", "SELECT FROM kept").unwrap();
}

#[test]
fn settings_that_were_given_win() {
    let settings = Settings::default().set("max_connections", "37").set("fsync", "on");
    let server = Server::start(settings).unwrap();
    assert_eq!(server.psql("postgres", "SHOW max_connections").unwrap(), "37");
    assert_eq!(server.psql("postgres", "SHOW fsync").unwrap(), "on");
}

#[test]
fn server_that_does_not_come_up_says_why() {
    let error = Server::start(Settings::default().set("max_connections", "many")).unwrap_err();
    assert!(matches!(&error, Error::NotReady { log } if log.contains("many")), "{error}");
}
