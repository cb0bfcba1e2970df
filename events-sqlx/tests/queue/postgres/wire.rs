//! A wire between a queue and its server, which counts round trips and can hold what the server
//! says, as a network does that has failed without a word.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use private_postgres::Database;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;

/// Ends, with all that goes through it, when it is dropped.
pub(crate) struct Wire {
    port: u16,
    name: String,
    state: Arc<State>,
    accepting: tokio::task::JoinHandle<()>,
}

struct State {
    held: watch::Sender<bool>,
    /// How often the server began to answer.
    answers: AtomicU64,
}

impl Wire {
    pub(crate) async fn to(database: &Database) -> Self {
        let socket = socket(&database.url());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State { held: watch::channel(false).0, answers: AtomicU64::new(0) });
        let shared = state.clone();
        let accepting = tokio::spawn(async move {
            let mut running = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&socket).await.unwrap();
                running.spawn(join(client.into_split(), server.into_split(), shared.clone()));
            }
        });
        Self { port, name: database.name().to_owned(), state, accepting }
    }

    pub(crate) fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{}", self.port, self.name)
    }

    /// What the server says from now on arrives only when the wire lets go.
    pub(crate) fn hold(&self) {
        self.state.held.send_replace(true);
    }

    pub(crate) fn let_go(&self) {
        self.state.held.send_replace(false);
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
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            if asked.swap(false, Ordering::SeqCst) {
                state.answers.fetch_add(1, Ordering::SeqCst);
            }
            held.wait_for(|held| !held).await.ok();
            if to_client.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
        to_client.shutdown().await.ok();
    };
    tokio::join!(forth, back);
}
