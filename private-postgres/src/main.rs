//! Runs a command with a PostgreSQL database of its own, or keeps one until standard input closes.
//!
//! ```text
//! cargo run -p private-postgres                   prints the database's URL; Ctrl-C or Ctrl-D ends it
//! cargo run -p private-postgres -- COMMAND…       COMMAND finds the URL in DATABASE_URL
//! ```

use std::process::ExitCode;

use guarded_process::ServerProgram;
use private_postgres::{Server, Settings};

fn main() -> ExitCode {
    let program = ServerProgram { name: "private-postgres", variable: "DATABASE_URL" };
    program.run(|| {
        let server = Server::start(Settings::default())?;
        let database = server.create_database();
        let url = database.url().clone();
        Ok::<_, private_postgres::Error>(((database, server), url)) // dropped in this order
    })
}
