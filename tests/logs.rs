//! Captures what the current thread logs.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, Once};

use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// The lines logged on the capturing thread.
#[derive(Debug, Clone, Default)]
pub struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    /// Captures until the guard is dropped.
    pub fn capture() -> (Self, DefaultGuard) {
        // Lines that a test beside this one logs first, with nobody listening there, are not to be taken
        // for lines that nobody ever listens to.
        static LISTENING: Once = Once::new();
        LISTENING.call_once(|| {
            let everything = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::DEBUG)
                .with_writer(std::io::sink)
                .finish();
            tracing::subscriber::set_global_default(everything).ok();
        });
        let logs = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(logs.clone())
            .finish();
        (logs, tracing::subscriber::set_default(subscriber))
    }

    /// Whether a line has this level and all these parts.
    pub fn has(&self, level: &str, parts: &[&str]) -> bool {
        self.count(level, parts) > 0
    }

    /// How many lines have this level and all these parts.
    pub fn count(&self, level: &str, parts: &[&str]) -> usize {
        let has =
            |line: &&str| line.contains(level) && parts.iter().all(|part| line.contains(part));
        self.to_string().lines().filter(has).count()
    }
}

impl fmt::Display for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0.lock().unwrap()))
    }
}

impl io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Logs {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
