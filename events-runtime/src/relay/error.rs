//! Why a relay does not start.

/// Why a relay cannot start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// Nothing is forwarded to the outbox that it is to drain.
    #[error("the queue has no outbox `{outbox}`, {}", remedy(known))]
    UnknownOutbox {
        /// Its name.
        outbox: String,
        /// The names of those that the queue has.
        known: Vec<String>,
    },
}

fn remedy(known: &[String]) -> String {
    if known.is_empty() {
        return "for it forwards nothing to one; open it with `.forward(Forwarding::outbox(…))`, as the programs do that publish".to_owned();
    }
    let known: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
    format!(
        "only {}; is the relay's name misspelt, or a forwarding missing where the queue is opened?",
        known.join(", ")
    )
}
