//! The contract suite, per broker.

mod memory;
mod postgres;
mod sqlite;
