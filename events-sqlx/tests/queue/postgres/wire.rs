//! A wire between a queue and its server, which counts round trips and can hold what the server
//! says, as a network does that has failed without a word.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use private_postgres::Database;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;

use super::support::until;

/// Ends, with all that goes through it, when it is dropped.
pub(crate) struct Wire {
    port: u16,
    name: String,
    state: Arc<State>,
    accepting: tokio::task::JoinHandle<()>,
}

struct State {
    held: watch::Sender<Held>,
    /// How often the server began to answer.
    answers: AtomicU64,
    accepted: AtomicU64,
}

#[derive(Clone, Copy)]
struct Held {
    /// Answers of a greater number.
    after: u64,
    /// Those of connections of a smaller number.
    dead_before: u64,
    /// Connections of a smaller number end instead.
    closed_before: u64,
}

impl Held {
    fn lets_pass(self, connection: u64, answer: u64) -> bool {
        answer <= self.after && connection >= self.dead_before
    }

    fn closes(self, connection: u64) -> bool {
        connection < self.closed_before
    }
}

impl Wire {
    pub(crate) async fn to(database: &Database) -> Self {
        let socket = socket(&database.url());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let held = watch::channel(Held { after: u64::MAX, dead_before: 0, closed_before: 0 }).0;
        let state =
            Arc::new(State { held, answers: AtomicU64::new(0), accepted: AtomicU64::new(0) });
        let shared = state.clone();
        let accepting = tokio::spawn(async move {
            let mut running = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                // While the server is down, nobody is let in.
                let Ok(server) = UnixStream::connect(&socket).await else { continue };
                running.spawn(join(client.into_split(), server.into_split(), shared.clone()));
            }
        });
        Self { port, name: database.name().to_owned(), state, accepting }
    }

    pub(crate) fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{}", self.port, self.name)
    }

    /// Resolves when the other side asks nothing any more. Pools ask connections that come back
    /// whether they are there.
    pub(crate) async fn quiet(&self) {
        let mut before = u64::MAX;
        while std::mem::replace(&mut before, self.round_trips()) != self.round_trips() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the server says after so many answers from now arrives only when the wire lets go.
    pub(crate) async fn hold_after(&self, answers: u64) {
        self.quiet().await;
        let after = self.round_trips() + answers;
        self.state.held.send_modify(|held| held.after = after);
    }

    /// Resolves when the server has said something that is held.
    pub(crate) async fn holds(&self) {
        let after = self.state.held.borrow().after;
        until("an answer is held", async || self.round_trips() > after).await;
    }

    pub(crate) fn let_go(&self) {
        self.state.held.send_modify(|held| held.after = u64::MAX);
    }

    /// The connections that are open now never hear anything again, and do not learn it. Those
    /// that come later work.
    pub(crate) fn cut(&self) {
        let dead_before = self.state.accepted.load(Ordering::SeqCst);
        self.state.held.send_modify(|held| held.dead_before = dead_before);
    }

    /// The connections that are open now end, and what was held is lost.
    pub(crate) fn break_off(&self) {
        let closed_before = self.state.accepted.load(Ordering::SeqCst);
        self.state.held.send_modify(|held| held.closed_before = closed_before);
    }

    /// How often the other side has waited for an answer.
    pub(crate) fn round_trips(&self) -> u64 {
        self.state.answers.load(Ordering::SeqCst)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Where the server's socket is, from a URL such as `postgresql://user@%2Ftmp%2Fx:5432/name`.
fn socket(url: &str) -> String {
    let host = url.split_once('@').unwrap().1.split_once(':').unwrap().0;
    let mut parts = host.split('%');
    let mut folder = parts.next().unwrap().to_owned();
    for part in parts {
        let (code, rest) = part.split_at(2);
        folder.push(char::from(u8::from_str_radix(code, 16).unwrap()));
        folder.push_str(rest);
    }
    format!("{folder}/.s.PGSQL.5432")
}

async fn join<R, W, S, T>(client: (R, W), server: (S, T), state: Arc<State>)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    S: AsyncRead + Unpin,
    T: AsyncWrite + Unpin,
{
    let number = state.accepted.fetch_add(1, Ordering::SeqCst);
    let asked = AtomicBool::new(false);
    let (mut from_client, mut to_client) = client;
    let (mut from_server, mut to_server) = server;
    let forth = async {
        let mut buffer = vec![0; 65536];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            asked.store(true, Ordering::SeqCst);
            if to_server.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
        to_server.shutdown().await.ok();
    };
    let back = async {
        let mut buffer = vec![0; 65536];
        let mut held = state.held.subscribe();
        let mut answer = 0;
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            if asked.swap(false, Ordering::SeqCst) {
                answer = state.answers.fetch_add(1, Ordering::SeqCst) + 1;
            }
            let decided = |held: &Held| held.lets_pass(number, answer) || held.closes(number);
            let closes = held.wait_for(decided).await.is_ok_and(|held| held.closes(number));
            if closes || to_client.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
        to_client.shutdown().await.ok();
    };
    tokio::join!(forth, back);
}
