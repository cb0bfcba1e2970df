//! Sessions and queue.
