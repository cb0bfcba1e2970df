//! Runs a command with a Redis database of its own, or keeps one until standard input closes.
//!
//! ```text
//! cargo run -p private-redis                prints the database's URL; Ctrl-C or Ctrl-D ends it
//! cargo run -p private-redis -- COMMAND…    COMMAND finds the URL in REDIS_URL
//! ```

use std::process::ExitCode;

use guarded_process::ServerProgram;
use private_redis::{Server, Settings};

fn main() -> ExitCode {
    let program = ServerProgram { name: "private-redis", variable: "REDIS_URL" };
    program.run(|| {
        let server = Server::start(Settings::default())?;
        let url = server.database().url();
        Ok::<_, private_redis::Error>((server, url))
    })
}
