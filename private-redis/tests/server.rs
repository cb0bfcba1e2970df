//! Servers and databases.

use std::net::TcpListener;
use std::process::Command;

use private_redis::{AppendOnlyFile, Error, Server, Settings};

fn with(append_only_file: AppendOnlyFile) -> Settings {
    Settings { append_only_file, ..Settings::default() }
}

#[test]
fn databases_are_separate() {
    let (one, other) = (Server::shared().database(), Server::shared().database());
    one.cli(&["SET", "name", "value"]).unwrap();
    assert_ne!(one.url(), other.url());
    assert_eq!(other.cli(&["EXISTS", "name"]).unwrap(), "0");
}

#[test]
fn two_servers_at_once_know_nothing_of_each_other() {
    let one = Server::start(Settings::default()).unwrap();
    let other = Server::start(Settings::default()).unwrap();
    one.cli(&["SET", "name", "value"]).unwrap();
    assert_ne!(one.port(), other.port());
    assert_eq!(other.cli(&["EXISTS", "name"]).unwrap(), "0");
}

#[test]
fn server_listens_on_this_machine_only() {
    let server = Server::start(Settings::default()).unwrap();
    assert_eq!(server.cli(&["CONFIG", "GET", "bind"]).unwrap(), "bind\n127.0.0.1");
    assert!(TcpListener::bind(("127.0.0.1", server.port())).is_err());
}

#[test]
fn append_only_file_survives_a_kill() {
    for written in [AppendOnlyFile::EverySecond, AppendOnlyFile::Always] {
        let server = Server::start(with(written)).unwrap();
        let (url, pid) = (server.url(), server.pid());
        for element in ["one", "two", "three"] {
            server.cli(&["LPUSH", "queue", element]).unwrap();
        }
        server.kill().unwrap();
        assert_eq!(server.pid(), None);
        assert!(server.cli(&["PING"]).is_err());
        server.start_again().unwrap();
        assert_eq!(server.cli(&["LRANGE", "queue", "0", "-1"]).unwrap(), "three\ntwo\none");
        assert_eq!(server.url(), url);
        assert_ne!(server.pid(), pid);
    }
}

#[test]
fn server_without_append_only_file_forgets_when_it_is_killed() {
    let server = Server::start(Settings::default()).unwrap();
    server.cli(&["SET", "name", "value"]).unwrap();
    server.kill().unwrap();
    server.start_again().unwrap();
    assert_eq!(server.cli(&["EXISTS", "name"]).unwrap(), "0");
}

#[test]
fn port_of_a_stopped_server_is_given_to_nobody_else() {
    let server = Server::start(Settings::default()).unwrap();
    server.stop().unwrap();
    assert!(std::net::UdpSocket::bind(("127.0.0.1", server.port())).is_err());
    server.start_again().unwrap();
}

#[test]
fn stopped_server_says_what_to_call_first() {
    let server = Server::start(Settings::default()).unwrap();
    assert!(matches!(server.start_again(), Err(Error::WrongState { .. })));
    server.stop().unwrap();
    assert!(matches!(server.kill(), Err(Error::WrongState { .. })));
    assert!(matches!(server.stop(), Err(Error::WrongState { .. })));
    server.start_again().unwrap();
}

#[test]
fn server_that_ended_of_itself_is_noticed() {
    let server = Server::start(Settings::default()).unwrap();
    let _ = server.cli(&["SHUTDOWN", "NOSAVE"]); // the connection ends as well
    while server.pid().is_some() {}
    server.start_again().unwrap();
}

#[test]
fn suspended_server_goes_on_where_it_was() {
    let server = Server::start(Settings::default()).unwrap();
    server.suspend().unwrap();
    let impatient = server.cli(&["-t", "0.2", "PING"]);
    server.resume().unwrap();
    assert_eq!(server.cli(&["PING"]).unwrap(), "PONG");
    drop(impatient); // older programs know no such limit and wait for the answer
}

#[test]
fn users_may_do_what_their_rules_say() {
    let settings = Settings { password: Some("secret".to_owned()), ..Settings::default() }.user(
        "worker",
        "other",
        "~mine:* +@write",
    );
    let server = Server::start(settings).unwrap();
    assert_eq!(server.cli(&["PING"]).unwrap(), "PONG");
    let ask = |url: &str, command: &[&str]| {
        let output = Command::new("redis-cli").args(["-e", "-u", url]).args(command).output();
        output.unwrap().status.success()
    };
    let database = server.database();
    assert!(ask(&database.url(), &["GET", "anything"]));
    let worker = database.url_as("worker", "other");
    assert!(ask(&worker, &["SET", "mine:name", "value"]));
    assert!(!ask(&worker, &["SET", "yours", "value"]));
    assert!(!ask(&worker, &["GET", "mine:name"]));
    assert!(!ask(&database.url_as("worker", "wrong"), &["SET", "mine:name", "value"]));
    assert!(!ask(&format!("redis://127.0.0.1:{}", server.port()), &["GET", "anything"]));
}

#[test]
fn server_with_tls_speaks_nothing_else_and_shows_a_certificate_for_its_address() {
    let server = Server::start(Settings { tls: true, ..Settings::default() }).unwrap();
    assert!(server.url().starts_with("rediss://127.0.0.1:"));
    assert_eq!(server.cli(&["PING"]).unwrap(), "PONG"); // verifies against the authority
    let authority = server.certificate_authority().unwrap();
    let address = format!("127.0.0.1:{}", server.port());
    let client = Command::new("openssl")
        .args(["s_client", "-connect", &address, "-verify_ip", "127.0.0.1"])
        .args(["-verify_return_error", "-brief", "-CAfile"])
        .arg(authority)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert!(client.status.success(), "{}", String::from_utf8_lossy(&client.stderr));
    let plain = Command::new("redis-cli")
        .args(["-e", "-p", &server.port().to_string(), "PING"])
        .output()
        .unwrap();
    assert!(!plain.status.success());
}

#[test]
fn full_server_refuses_writes() {
    let server = Server::start(Settings::default().set("maxmemory", "1mb")).unwrap();
    let error = server.cli(&["SET", "name", "value"]).unwrap_err();
    assert!(matches!(&error, Error::Program { output, .. } if output.contains("OOM")), "{error}");
}

#[test]
fn server_that_does_not_come_up_says_why() {
    let error = Server::start(Settings::default().set("maxmemory", "plenty")).unwrap_err();
    assert!(matches!(&error, Error::NotReady { log } if log.contains("plenty")), "{error}");
}
