//! Sends tasks to a Celery fleet.

use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use events_core::transport::{Transport, TransportError, Unsent};
use events_core::{Events, Task};
use futures_util::FutureExt;

use crate::error::CeleryError;
use crate::keys::Keys;
use crate::link::Link;
use crate::message::{Outgoing, Refused, debounce_key, encode};
use crate::options::CeleryOptions;
use crate::settle::{Publication, end_and_publish};
use crate::source::Source;
use crate::tag::Kind;

/// So much is sent at once, in bytes: Redis is at work while the next is written.
const BATCH_BYTES: usize = 128 * 1024;

/// Sends tasks as messages that workers in Python (Celery 5.3 to 5.7) and in Rust execute. Clones share
/// the connection.
///
/// Python gets the event's payload and its id as positional arguments, `handler(payload, event_id)`, and
/// the event's headers, such as `traceparent`, in `self.request.headers`. No result is asked for.
///
/// Every message is checked before it is sent: one that is malformed takes the Python workers of its queue
/// down, one after the other.
///
/// Redis has no transaction with a database. Pass it to
/// [`Forwarding::after_commit`](events_core::Forwarding::after_commit), which sends right after the commit
/// and may lose what a crash comes before, or to a relay that drains the outbox, which may send twice.
///
/// A task that cannot be a message, because its payload is not a JSON object, say, is never sent: the
/// error says why, and it becomes a dead letter where the outbox has it.
///
/// ```no_run
/// # use events_celery::CeleryTransport;
/// # use events_core::Events;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let events = Events::builder().build()?;
/// let transport = CeleryTransport::connect_lazy("redis://127.0.0.1:6379/0", &events)?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct CeleryTransport(Arc<Inner>);

struct Inner {
    events: Events,
    keys: Keys,
    link: Arc<Link>,
    origin: String,
}

impl fmt::Debug for CeleryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CeleryTransport")
            .field("redis", self.0.link.source())
            .finish_non_exhaustive()
    }
}

impl CeleryTransport {
    /// Connects to the fleet's Redis, with default [options](CeleryOptions). The URL is Celery's
    /// `broker_url`.
    ///
    /// # Errors
    /// The URL cannot be used, or Redis cannot be reached, refuses the user, or is too old; the text
    /// says what to do.
    pub async fn connect(url: &str, events: &Events) -> Result<Self, CeleryError> {
        CeleryOptions::new().connect_transport(url, events).await
    }

    /// Connects when the first task is sent, and does not look how old Redis is: a program that
    /// publishes through an outbox need not wait for Redis to start.
    ///
    /// # Errors
    /// The URL cannot be used; the text says what to do.
    pub fn connect_lazy(url: &str, events: &Events) -> Result<Self, CeleryError> {
        CeleryOptions::new().connect_transport_lazy(url, events)
    }

    pub(crate) fn new(options: &CeleryOptions, source: Source, events: &Events) -> Self {
        Self(Arc::new(Inner {
            events: events.clone(),
            keys: Keys::new(&options.prefix, source.database()),
            link: Link::new(source, options.response_timeout),
            origin: options.node_name_or_default(),
        }))
    }

    pub(crate) async fn check_version(&self) -> Result<(), CeleryError> {
        check_version(&self.0.link).await
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.0.link
    }

    /// What tasks are that are published together with the end of a claim.
    pub(crate) fn publications(&self, tasks: &[Task]) -> Result<Vec<Publication>, Refused> {
        let now = self.0.events.now();
        let publication = |task: &Task| {
            let message = encode(task, &self.0.origin, now)?;
            Ok(match debounced(task, &message) {
                Some(debounced) => debounced,
                None => Publication::Message {
                    list: self.0.keys.list(&task.queue, message.step),
                    first: message.first,
                    text: message.text,
                },
            })
        };
        tasks.iter().map(publication).collect()
    }

    /// Sends one batch.
    async fn push(&self, batch: Batch) -> Pushed {
        const ACTION: &str = "take messages";
        let (link, keys) = (&self.0.link, &self.0.keys);
        let mut unsent = Vec::new();
        let answers = match batch.runs.as_slice() {
            [] => Ok(Vec::new()),
            [run] => match link.command(ACTION, &run.command()).await {
                Ok(answer) => Ok(vec![Ok(answer)]),
                Err(error) if error.is_answer() => Ok(vec![Err(error)]),
                Err(error) => Err(error),
            },
            runs => {
                let mut pipeline = redis::pipe();
                for run in runs {
                    pipeline.add_command(run.command());
                }
                link.pipeline_each(ACTION, pipeline).await
            }
        };
        let answers: Vec<Result<i64, CeleryError>> = match answers {
            Ok(answers) => answers,
            Err(error) => return Pushed { unsent, away: Some((error, batch.into_tasks())) },
        };
        let (mut away, mut left) = (None, Vec::new());
        // One list that takes nothing must not have the others sent again. Any other answer is about the
        // server: a master no more, one that is loading, a full memory. What follows waits behind it.
        let mut fails = |tasks: Vec<Task>, error: CeleryError| match error.is_of_a_key() {
            true => {
                let error = Arc::new(error);
                unsent.extend(tasks.into_iter().map(|task| Unsent::later(task, error.clone())));
            }
            false => {
                left.extend(tasks);
                away.get_or_insert(error);
            }
        };
        let mut is_there = true;
        for (run, answer) in batch.runs.into_iter().zip(answers) {
            if let Err(error) = answer {
                is_there &= error.is_of_a_key();
                fails(run.tasks, error);
            }
        }
        let (publications, tasks): (Vec<_>, Vec<_>) = batch.debounced.into_iter().unzip();
        if is_there {
            if let Err(error) = end_and_publish(link, keys, &[], &publications).await {
                fails(tasks, error);
            }
        } else {
            left.extend(tasks);
        }
        Pushed { unsent, away: away.map(|error| (error, left)) }
    }
}

/// Messages that are sent at once.
#[derive(Default)]
struct Batch {
    bytes: usize,
    runs: Vec<Run>,
    debounced: Vec<(Publication, Task)>,
}

/// Messages one after the other for one end of one list.
struct Run {
    list: String,
    first: bool,
    texts: Vec<String>,
    tasks: Vec<Task>,
}

/// The task as one that waits until its key is quiet, if it is debounced.
fn debounced(task: &Task, message: &Outgoing) -> Option<Publication> {
    let debounced = task.debounce.as_ref()?;
    let key = debounce_key(&task.name, &debounced.key);
    Some(Publication::Debounced {
        tag: Kind::Quiet.waiting(&key, message.step, &task.queue),
        text: message.text.clone(),
        due_at: task.due_at.as_micros(),
        not_after: debounced.not_after.as_micros(),
        event: task.event_id,
    })
}

impl Run {
    fn command(&self) -> redis::Cmd {
        let bytes = self.texts.iter().map(String::len).sum::<usize>() + self.list.len();
        let mut command = redis::Cmd::with_capacity(self.texts.len() + 2, bytes + 5);
        command.arg(if self.first { "RPUSH" } else { "LPUSH" }).arg(&self.list).arg(&self.texts);
        command
    }
}

impl Batch {
    fn add(&mut self, task: Task, keys: &Keys, message: Outgoing) {
        self.bytes += message.text.len();
        if let Some(debounced) = debounced(&task, &message) {
            self.debounced.push((debounced, task));
            return;
        }
        let Outgoing { step, first, text } = message;
        let list = keys.list(&task.queue, step);
        match self.runs.last_mut().filter(|run| run.list == list && run.first == first) {
            Some(run) => {
                // The last to be pushed to the front is the first to be taken.
                run.texts.insert(if first { 0 } else { run.texts.len() }, text);
                run.tasks.push(task);
            }
            None => self.runs.push(Run { list, first, texts: vec![text], tasks: vec![task] }),
        }
    }

    fn into_tasks(self) -> Vec<Task> {
        let tasks = self.runs.into_iter().flat_map(|run| run.tasks);
        tasks.chain(self.debounced.into_iter().map(|(_, task)| task)).collect()
    }
}

/// What came of a batch.
struct Pushed {
    /// What Redis refused.
    unsent: Vec<Unsent>,
    /// Why none of these was sent, and nothing behind them needs to be tried.
    away: Option<(CeleryError, Vec<Task>)>,
}

impl Transport for CeleryTransport {
    async fn send(&self, tasks: Vec<Task>) -> Result<(), TransportError> {
        let mut unsent = Vec::new();
        let mut tasks = tasks.into_iter();
        let mut under_way = None;
        loop {
            // Redis is at work on the one before.
            let batch = self.batch(&mut tasks, &mut unsent);
            if let Some(before) = under_way.take() {
                let Pushed { unsent: refused, away } = before.await;
                unsent.extend(refused);
                if let Some((error, left)) = away {
                    // The order is kept: what follows waits for what could not be sent.
                    let batch = batch.map(Batch::into_tasks).unwrap_or_default();
                    let left = left.into_iter().chain(batch).chain(tasks);
                    unsent.extend(Unsent::all_later(left, error));
                    break;
                }
            }
            let Some(batch) = batch else { break };
            let mut push: Sent<'_> = Box::pin(self.push(batch));
            if tasks.len() == 0 {
                under_way = Some(push);
                continue;
            }
            // Polled once, it is on its way.
            under_way = Some(match (&mut push).now_or_never() {
                None => push,
                Some(pushed) => Box::pin(ready(pushed)),
            });
            // On a thread of tokio's, what drives the connection was woken to be the next there, and
            // nobody else may take it: without this it would begin when all is written.
            tokio::task::yield_now().await;
        }
        TransportError::check(unsent)
    }
}

/// A batch on its way.
type Sent<'t> = Pin<Box<dyn Future<Output = Pushed> + Send + 't>>;

impl CeleryTransport {
    /// The next batch, if there is any; what cannot be a message is not sent.
    fn batch(
        &self,
        tasks: &mut impl Iterator<Item = Task>,
        unsent: &mut Vec<Unsent>,
    ) -> Option<Batch> {
        let now = self.0.events.now();
        let mut batch = Batch::default();
        while batch.bytes < BATCH_BYTES
            && let Some(task) = tasks.next()
        {
            match encode(&task, &self.0.origin, now) {
                Ok(message) => batch.add(task, &self.0.keys, message),
                Err(refused) => unsent.push(Unsent::never(task, refused)),
            }
        }
        (batch.bytes > 0).then_some(batch)
    }
}

async fn check_version(link: &Link) -> Result<(), CeleryError> {
    let mut command = redis::cmd("INFO");
    command.arg("server");
    let info: String = match link.command("tell its version", &command).await {
        Ok(info) => info,
        // A user who may not ask may still do all that is needed.
        Err(error) if error.code() == Some("NOPERM") => return Ok(()),
        Err(error) => return Err(error.of_first_command(link.source().name())),
    };
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).map(str::trim);
    let Some(version) = version else { return Ok(()) };
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match (major, minor) >= (6, 2) {
        true => Ok(()),
        false => Err(CeleryError::TooOld { version: version.to_owned() }),
    }
}
