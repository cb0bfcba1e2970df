//! A note is written in a transaction, and work follows from it: once if it commits, never if not.
#![allow(clippy::print_stdout)] // to be watched is what it is for
#![allow(clippy::needless_pass_by_value)] // a handler owns what it takes

use events_core::prelude::*;
use events_core::{Admin, BoxError};
use events_runtime::Worker;
use events_sqlx::{EventTransaction, Sqlite, SqliteQueue};

/// Somebody wrote a note.
#[derive(Event)]
struct NoteWritten {
    text: String,
}

#[publishes(NoteWritten)]
fn write_note(session: &mut EventTransaction<Sqlite>, text: &str) -> Result<(), PublishError> {
    let id = publish_after_commit(session, NoteWritten { text: text.to_owned() })?;
    println!("published {text:?}, pending commit, as event {id}");
    Ok(())
}

#[subscribes_to(NoteWritten, freshness_only)]
fn read_aloud(event: NoteWritten, context: TaskContext) {
    println!("handled   {:?} of event {}", event.text, context.event_id());
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let directory = tempfile::tempdir()?;
    let events = Events::builder().build()?;
    let queue = SqliteQueue::open(directory.path().join("app.db"), &events).await?;

    let mut session = queue.begin().await?;
    write_note(&mut session, "never mind")?;
    session.rollback().await?;
    println!("rolled back: {} tasks wait", queue.counts().await?.available);

    let mut session = queue.begin().await?;
    write_note(&mut session, "hello")?;
    session.commit().await?;
    println!("committed: {} task waits, on disk", queue.counts().await?.available);

    let worker = Worker::builder(&events, queue.clone()).build()?;
    worker.run_until_drained().await?; // a service says `run_until(shutdown_signal())`
    println!("worker stopped: {} tasks wait", queue.counts().await?.available);
    Ok(())
}
