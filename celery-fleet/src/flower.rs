use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use guarded_process::Process;

use crate::fleet::{Fleet, PATIENCE};

/// Flower, which shows workers and tasks, and has an API: `/api/workers?refresh=true`, `/api/tasks`.
///
/// It is killed when this value is dropped.
#[derive(Debug)]
pub struct Flower {
    _process: Process,
    url: String,
}

impl Flower {
    pub(crate) fn start(fleet: &Fleet) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .expect("a port is free")
            .port();
        let log = fleet.folder().join("flower.log");
        let output = File::create(&log).expect("the fleet's folder is there");
        let mut command = fleet.celery(&fleet.configuration);
        command
            .args(["flower", "--address=127.0.0.1", &format!("--port={port}")])
            .env("FLOWER_UNAUTHENTICATED_API", "true")
            .stdout(output.try_clone().expect("few files are open"))
            .stderr(output);
        let mut process = fleet.guardian.spawn(command).expect("a shell starts");
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(
                !process.has_ended() && Instant::now() < deadline,
                "Flower, which only the newest version has, did not start:\n{}",
                std::fs::read_to_string(&log).unwrap_or_default()
            );
            thread::sleep(Duration::from_millis(20));
        }
        Self { _process: process, url: format!("http://127.0.0.1:{port}") }
    }

    /// Where it is, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}
