//! A row of an outbox: the tasks of one commit, or a part of them, as one JSON text.

use std::borrow::Cow;
use std::fmt;

use events_core::task::{Debounced, Headers, Name};
use events_core::{BoxError, Registry, Task, Timestamp};
use serde::ser::SerializeTuple;
use serde::{Serialize, Serializer};

/// The most tasks of one row, and about how many bytes: a relay reads and rewrites a row as a whole.
const TASKS_OF_A_ROW: usize = 500;
const BYTES_OF_A_ROW: usize = 1 << 20;

/// A row before it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewRow {
    /// How many tasks it has.
    pub(crate) tasks: i32,
    /// When the first was published.
    pub(crate) published_at: Timestamp,
    /// The tasks, as [`read_tasks`] reads them.
    pub(crate) body: String,
}

impl NewRow {
    /// A row of all these tasks, however many.
    pub(crate) fn of(tasks: &[Task]) -> Self {
        Self {
            tasks: i32::try_from(tasks.len()).unwrap_or(i32::MAX),
            published_at: tasks.iter().map(|task| task.published_at).min().unwrap_or_default(),
            body: write_tasks(tasks),
        }
    }
}

/// The rows of the tasks that a commit leaves for an outbox: one, or several if they are many.
pub(crate) fn rows(tasks: &[Task]) -> Vec<NewRow> {
    let mut rows = Vec::new();
    let mut rest = tasks;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take(TASKS_OF_A_ROW).take_while(|task| {
            let fits = bytes < BYTES_OF_A_ROW;
            bytes += task.payload.len();
            fits
        });
        let (row, others) = rest.split_at(fits.count());
        rows.push(NewRow::of(row));
        rest = others;
    }
    rows
}

/// Tasks as one JSON text, an array of arrays.
fn write_tasks(tasks: &[Task]) -> String {
    struct All<'t>(&'t [Task]);
    impl Serialize for All<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(self.0.iter().map(Packed))
        }
    }
    serde_json::to_string(&All(tasks)).expect("names, numbers and texts are JSON")
}

struct Packed<'t>(&'t Task);

/// Something that is written as it is shown.
struct Shown<T>(T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl Serialize for Packed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(task) = self;
        let mut tuple = serializer.serialize_tuple(12)?;
        tuple.serialize_element(&Shown(task.id))?;
        tuple.serialize_element(&Shown(task.event_id))?;
        tuple.serialize_element(&task.event)?;
        tuple.serialize_element(&task.name)?;
        tuple.serialize_element(&task.queue)?;
        tuple.serialize_element(&task.priority)?;
        tuple.serialize_element(&task.due_at.as_micros())?;
        tuple.serialize_element(&task.published_at.as_micros())?;
        tuple.serialize_element(&*task.payload)?;
        let headers = (!task.headers.is_empty()).then(|| task.headers.to_json());
        tuple.serialize_element(&headers)?;
        tuple.serialize_element(&task.debounce.as_ref().map(|debounced| &debounced.key))?;
        let not_after = task.debounce.as_ref().map(|debounced| debounced.not_after.as_micros());
        tuple.serialize_element(&not_after)?;
        tuple.end()
    }
}

/// A text of a row: borrowed from it unless it has escapes.
#[derive(serde::Deserialize)]
struct Text<'r>(#[serde(borrow)] Cow<'r, str>);

type Unpacked<'r> = (
    &'r str,
    &'r str,
    Text<'r>,
    Text<'r>,
    Text<'r>,
    i16,
    i64,
    i64,
    Text<'r>,
    Option<String>,
    Option<String>,
    Option<i64>,
);

/// Reads what [`write_tasks`] wrote, or says that it was changed by hand, or cut. Names that
/// `registry` knows are not copied.
pub(crate) fn read_tasks(body: &str, registry: &Registry) -> Result<Vec<Task>, BoxError> {
    let unpacked: Vec<Unpacked<'_>> = serde_json::from_str(body)?;
    unpacked.into_iter().map(|task| unpack(task, registry)).collect()
}

fn unpack(unpacked: Unpacked<'_>, registry: &Registry) -> Result<Task, BoxError> {
    let (id, event_id, event, name, queue, priority, due_at, published_at, payload, ..) = unpacked;
    let (.., headers, key, not_after) = unpacked;
    let subscriber = registry.subscriber(&name.0);
    let known = subscriber.filter(|found| found.task == name.0 && found.event.name == event.0);
    let queue_known = known.and_then(|found| found.queue).filter(|known| *known == queue.0);
    let (event, name) = match known {
        Some(found) => (Name::Borrowed(found.event.name), Name::Borrowed(found.task)),
        None => (Name::Owned(event.0.into_owned()), Name::Owned(name.0.into_owned())),
    };
    Ok(Task {
        id: id.parse()?,
        event_id: event_id.parse()?,
        event,
        name,
        queue: queue_known.map_or_else(|| Name::Owned(queue.0.into_owned()), Name::Borrowed),
        priority,
        payload: payload.0.into(),
        headers: headers.map_or_else(|| Ok(Headers::new()), |json| Headers::from_json(&json))?,
        published_at: Timestamp::from_micros(published_at),
        due_at: Timestamp::from_micros(due_at),
        debounce: match (key, not_after) {
            (Some(key), Some(not_after)) => {
                Some(Debounced { key, not_after: Timestamp::from_micros(not_after) })
            }
            _ => None,
        },
    })
}

#[cfg(test)]
mod tests {
    use events_core::{EventId, TaskId};

    use super::*;

    fn task(payload: &str) -> Task {
        Task {
            id: TaskId::generate(),
            event_id: EventId::generate(),
            event: "shop.Placed".into(),
            name: "events.shop.\"quoted\"".into(),
            queue: "fides".into(),
            priority: -3,
            payload: payload.into(),
            headers: Headers::new(),
            published_at: Timestamp::from_micros(7),
            due_at: Timestamp::from_micros(8),
            debounce: None,
        }
    }

    #[test]
    fn every_field_of_a_task_survives_the_row() {
        let mut full = task("{\"text\":\"\\u0000 \\\\ größer 🦀\"}");
        full.headers.insert("traceparent", "00-\"-01");
        full.debounce =
            Some(Debounced { key: "\"k\"".into(), not_after: Timestamp::from_micros(9) });
        let tasks = [full, task("{}")];
        let registry = Registry::builder().build().unwrap();
        assert_eq!(read_tasks(&write_tasks(&tasks), &registry).unwrap(), tasks);
        assert!(read_tasks("[[\"cut", &registry).is_err());
    }

    #[test]
    fn a_large_commit_is_several_rows_in_order() {
        let many: Vec<_> = (0..1_234).map(|_| task("{}")).collect();
        let counts = |tasks: &[Task]| rows(tasks).iter().map(|row| row.tasks).collect::<Vec<_>>();
        assert_eq!(counts(&many), [500, 500, 234]);
        assert_eq!(counts(&many[..3]), [3]);
        assert_eq!(counts(&[]), [0; 0]);
        let large = "x".repeat(BYTES_OF_A_ROW);
        assert_eq!(counts(&[task(&large), task(&large), task("{}")]), [1, 1, 1]);
        let registry = Registry::builder().build().unwrap();
        let rows = rows(&many);
        let read = rows.iter().flat_map(|row| read_tasks(&row.body, &registry).unwrap());
        assert!(read.eq(many));
    }
}
