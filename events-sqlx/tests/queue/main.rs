//! What the queue on SQLite promises beyond the contract that every broker keeps.

mod support;

mod sessions;
