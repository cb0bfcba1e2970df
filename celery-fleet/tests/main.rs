//! What the package promises, with real Celery on real Redis.

mod program;
mod python;
