//! A worker as a process of its own, started by the replay.
//!
//! It stops when its standard input ends, which also happens when the replay dies, and writes what
//! it measures to its standard output, a line of JSON at a time.

use std::io::Write;
use std::time::Duration;

use super::measurements::Measured;
use super::{ReplayError, open_queue, workers};
use crate::database::Location;

/// Between two lines of measurements: what is lost at most when the process is killed.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Works until standard input ends.
///
/// # Errors
/// The database cannot be used, or the worker cannot start.
pub async fn run(database: &Location, measured: &Measured) -> Result<(), ReplayError> {
    let (events, queue) = open_queue(database).await?;
    let worker = workers::inside(&events, &queue)?;
    let telling = async {
        loop {
            tokio::time::sleep(TELL_EVERY).await;
            tell(measured);
        }
    };
    let work = worker.run_until(input_ended());
    tokio::select! {
        ended = work => ended?,
        () = telling => {}
    }
    tell(measured);
    Ok(())
}

/// An interrupt from the terminal reaches every process of the replay; it is the replay that
/// decides what it means, so it is ignored here.
async fn input_ended() {
    let ignore = async {
        while tokio::signal::ctrl_c().await.is_ok() {}
        std::future::pending::<()>().await;
    };
    // A thread of its own: one of the runtime's would keep the process from ending before.
    let (tell, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).ok();
        tell.send(()).ok(); // the worker may have ended by itself
    });
    tokio::select! {
        _ = ended => {}
        () = ignore => {}
    }
}

fn tell(measured: &Measured) {
    if let Some(line) = measured.take_line() {
        let mut out = std::io::stdout().lock();
        // If nobody reads any more, the end of standard input follows.
        writeln!(out, "{line}").and_then(|()| out.flush()).ok();
    }
}
