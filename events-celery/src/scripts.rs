//! What Redis does as a whole, or not at all.
//!
//! Keys are given as arguments where a script names lists by itself; all of them have the fleet's
//! prefix, and with it, in a cluster, its slot.

use std::sync::LazyLock;

use crate::link::Script;

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident: $file:literal),* $(,)?) => {$(
        $(#[$doc])*
        pub(crate) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(include_str!(concat!("scripts/", $file, ".lua"))));
    )*};
}

scripts! {
    /// Hands out messages.
    CLAIM: "claim",
    /// Ends claims whose tasks are done.
    COMPLETE: "complete",
    /// Ends claims in any way, together with what is published in them.
    SETTLE: "settle",
    /// Makes a worker known.
    REGISTER: "register",
    /// Stores results, and tells who waits for them.
    RESULT: "result",
    /// Writes a heartbeat.
    BEAT: "beat",
    /// Takes a worker for dead, if it has not beaten since.
    LOSE: "lose",
    /// Makes a dead letter a task again.
    REVIVE: "revive",
    /// Stamps the start of a reconciler's run.
    BEGIN_RUN: "begin_run",
    /// Remembers how a reconciler's run ended.
    END_RUN: "end_run",
    /// Takes a lock.
    LOCK: "lock",
    /// Frees a lock that is still one's own.
    UNLOCK: "unlock",
}
