//! Connections with TLS, to a Redis whose certificate is of an authority of its own.

use std::process::Command;
use std::time::Duration;

use events_celery::{CeleryBroker, CeleryError, CeleryOptions, CeleryResults};
use events_core::broker::{Broker, WorkerInfo};
use events_core::{Queues, WorkerId};
use events_runtime::Worker;
use events_testing::ManualClock;
use private_redis::{Server, Settings};

use crate::world::{Seen, causes, events, numbers, shop};

fn server() -> Server {
    Server::start(Settings { tls: true, ..Settings::default() }).unwrap()
}

/// A file beside the authority's certificate.
fn file(server: &Server, name: &str) -> Vec<u8> {
    std::fs::read(server.certificate_authority().unwrap().with_file_name(name)).unwrap()
}

/// That trust the authority of this server.
fn options(server: &Server) -> CeleryOptions {
    CeleryOptions::new().tls_root_certificate(file(server, "authority.crt"))
}

async fn connect(options: &CeleryOptions, url: &str) -> Result<CeleryBroker, CeleryError> {
    options.connect(url, &events(&ManualClock::new())).await
}

#[tokio::test]
async fn authority_of_ones_own_is_trusted_when_it_is_named() {
    let server = server();
    let broker = connect(&options(&server), &server.url()).await.unwrap();
    let worker = WorkerId::generate();
    broker.register(worker, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
    let mut session = broker.begin();
    shop::order(&mut session, 7).unwrap();
    session.commit().await.unwrap();
    let claimed = broker.claim(worker, &Queues::all(), 10).await.unwrap();
    assert_eq!(numbers(&claimed.tasks), [7]);
}

#[tokio::test]
async fn idle_worker_hears_of_new_tasks_through_tls() {
    let server = server();
    let events = events(&ManualClock::new());
    let broker = options(&server).connect(&server.url(), &events).await.unwrap();
    let (seen, (stop, stopped)) = (Seen::default(), tokio::sync::oneshot::channel::<()>());
    let worker = Worker::builder(&events, broker.clone()).state(seen.clone()).build().unwrap();
    let working = tokio::spawn(worker.run_until(stopped));
    for number in 0..3 {
        let mut session = broker.begin();
        shop::order(&mut session, number).unwrap();
        session.commit().await.unwrap();
        crate::world::eventually("run", async || seen.0.lock().unwrap().last() == Some(&number))
            .await;
    }
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_mins(1), working).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn authority_that_nobody_named_is_not_trusted_and_told() {
    let (server, other) = (server(), server());
    for options in [CeleryOptions::new(), options(&other)] {
        let error = connect(&options, &server.url()).await.unwrap_err();
        assert!(error.to_string().contains("`tls_root_certificate`"), "{error}");
        assert!(!error.is_unreachable(), "another try does not help: {error}");
    }
}

#[tokio::test]
async fn url_without_tls_is_spoken_to_with_it_if_the_options_say_so() {
    let server = server();
    let url = server.url().replace("rediss://", "redis://");
    connect(&options(&server).tls(true), &url).await.unwrap();
}

#[tokio::test]
async fn redis_that_wants_a_certificate_is_shown_one() {
    let server = server();
    server.cli(&["CONFIG", "SET", "tls-auth-clients", "yes"]).unwrap();
    let options = options(&server);
    let error = connect(&options, &server.url()).await.unwrap_err();
    assert!(error.to_string().contains("`tls_client_certificate`"), "{}", causes(&error));
    let (certificate, key) = (file(&server, "server.crt"), file(&server, "server.key"));
    let of_another = file(&server, "authority.key");
    let error = options.clone().tls_client_certificate(certificate.clone(), of_another);
    let error = connect(&error, &server.url()).await.unwrap_err();
    assert!(error.to_string().contains("do not belong together"), "{}", causes(&error));
    let options = options.tls_client_certificate(certificate, key);
    connect(&options, &server.url()).await.unwrap();
}

#[tokio::test]
async fn certificates_hold_for_what_speaks_tls_and_nothing_else() {
    let (encrypted, plain) = (server(), Server::start(Settings::default()).unwrap());
    let results = |url| CeleryResults::new(Duration::from_mins(1)).at(url);
    for (url, results) in [
        (encrypted.url(), results(plain.url())),
        (plain.url(), results(encrypted.url())),
        (encrypted.url(), results(encrypted.url())),
    ] {
        // Whatever is said first.
        let before = CeleryOptions::new().results(results.clone());
        let before = before.tls_root_certificate(file(&encrypted, "authority.crt"));
        let after = options(&encrypted).results(results);
        // In the second case the tasks are not encrypted, and are meant not to be.
        for options in [before.tls(false), after.tls(false)] {
            connect(&options, &url).await.unwrap();
        }
    }
}

/// That the results are encrypted does not make up for a forgotten `s` in the URL of the tasks.
#[tokio::test]
async fn certificates_that_do_not_encrypt_the_tasks_are_refused() {
    let (encrypted, plain) = (server(), Server::start(Settings::default()).unwrap());
    let results = CeleryResults::new(Duration::from_mins(1)).at(encrypted.url());
    let options = options(&encrypted).results(results);
    let error = connect(&options, &plain.url()).await.unwrap_err();
    assert!(matches!(error, CeleryError::NoTls), "{error:?}");
    connect(&options, &encrypted.url()).await.unwrap();
    // Who says that nothing is to be encrypted has no use for certificates.
    let options = self::options(&encrypted).tls(false);
    let error = connect(&options, &plain.url()).await.unwrap_err();
    assert!(matches!(error, CeleryError::NoTls), "{error:?}");
}

#[tokio::test]
async fn what_is_no_certificate_is_refused() {
    let broken = "-----BEGIN CERTIFICATE-----\n%\n-----END CERTIFICATE-----\n";
    for pem in ["nonsense", broken] {
        for options in [
            CeleryOptions::new().tls_root_certificate(pem),
            CeleryOptions::new().tls_client_certificate(pem, pem),
        ] {
            let error = connect(&options, "rediss://localhost").await;
            assert!(matches!(error, Err(CeleryError::Certificate { .. })), "{pem}: {error:?}");
        }
    }
}

/// Runs a test of this program in a process of its own, in which the variable `ALONE` has this value.
fn alone(test: &str, value: &str, variables: &[(&str, &str)]) {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["--exact", &format!("tls::{test}"), "--nocapture"]).env("ALONE", value);
    let output = program.envs(variables.iter().copied()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

#[tokio::test]
async fn authorities_that_the_machine_trusts_are_trusted() {
    if let Ok(url) = std::env::var("ALONE") {
        connect(&CeleryOptions::new(), &url).await.unwrap();
        return;
    }
    let server = server();
    let authority = server.certificate_authority().unwrap().to_str().unwrap();
    let variables = [("SSL_CERT_FILE", authority)];
    alone("authorities_that_the_machine_trusts_are_trusted", &server.url(), &variables);
}

#[tokio::test]
async fn program_chooses_its_cryptography_as_long_as_nothing_speaks_tls() {
    let chosen = || rustls::crypto::CryptoProvider::get_default().is_some();
    if let Ok(url) = std::env::var("ALONE") {
        let events = events(&ManualClock::new());
        let _lazy = CeleryOptions::new().connect_transport_lazy("rediss://localhost", &events);
        connect(&CeleryOptions::new(), &url).await.unwrap();
        assert!(!chosen());
        connect(&CeleryOptions::new().tls(true), &url).await.unwrap_err();
        assert!(chosen());
        return;
    }
    let server = Server::start(Settings::default()).unwrap();
    let test = "program_chooses_its_cryptography_as_long_as_nothing_speaks_tls";
    alone(test, &server.url(), &[]);
}
