//! Where log lines go.

use std::io::IsTerminal;

use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::configuration::{Log, LogFormat};
use crate::replay::measurements::{Measured, TARGET};

/// Sends log lines to standard error, as a service and its workers are configured.
pub(crate) fn start_configured(log: &Log) {
    let chosen = EnvFilter::builder().parse_lossy(&log.filter); // it was checked
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match log.format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(chosen)).init();
}

/// Sends log lines to standard error, as `RUST_LOG` says (default: `warn`, and `more`), and those of
/// the worker to `measured`.
pub(crate) fn start(measured: Option<Measured>, more: &str) {
    let wanted = std::env::var("RUST_LOG").unwrap_or_else(|_| format!("warn,{more}"));
    let chosen =
        EnvFilter::builder().with_default_directive(LevelFilter::WARN.into()).parse_lossy(wanted);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter(chosen);
    let measured = measured
        .map(|layer| layer.with_filter(Targets::new().with_target(TARGET, LevelFilter::DEBUG)));
    tracing_subscriber::registry().with(lines).with(measured).init();
}
