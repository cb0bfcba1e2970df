//! The contract suite, per broker.

mod memory;
mod sqlite;
