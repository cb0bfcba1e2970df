//! A worker in a process of its own.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;

use crate::Failed;
use crate::contenders;
use crate::handled::{self, Start};
use crate::job::Handler;

/// The process: works until its standard input is closed, and prints each start of a handler.
pub(crate) async fn run(contender: &str, url: &str) -> Result<(), Failed> {
    let queue = contenders::open(contender, url, 1).await?;
    let mut starts = handled::starts();
    let worker = queue.work(Handler::Ignore).await?;
    println!("ready");
    let mut ended = Box::pin(parent_ends());
    loop {
        tokio::select! {
            Some(start) = starts.recv() => println!("{} {}", start.number, start.at),
            () = &mut ended => break,
        }
    }
    worker.stop().await?;
    println!("peak {}", super::peak_memory());
    Ok(())
}

/// Resolves when nobody holds the other end of this process's standard input any more.
pub(crate) async fn parent_ends() {
    let mut rest = Vec::new();
    tokio::io::stdin().read_to_end(&mut rest).await.ok();
}

/// A worker that was started in a process of its own.
pub(super) struct Elsewhere {
    child: Child,
    input: ChildStdin,
    reading: JoinHandle<Result<f64, Failed>>,
}

impl Elsewhere {
    /// Starts it, and waits until it is ready.
    pub(super) async fn start(
        contender: &str,
        url: &str,
    ) -> Result<(Self, UnboundedReceiver<Start>), Failed> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["worker", contender, url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let input = child.stdin.take().ok_or("its input is a pipe")?;
        let output = child.stdout.take().ok_or("its output is a pipe")?;
        let mut lines = BufReader::new(output).lines();
        let first = lines.next_line().await?;
        if first.as_deref() != Some("ready") {
            return Err(format!("the worker did not start: {first:?}").into());
        }
        let (sender, starts) = unbounded_channel();
        let reading = tokio::spawn(read(lines, sender));
        Ok((Self { child, input, reading }, starts))
    }

    /// Ends it. Returns the most memory it had, in MiB.
    pub(super) async fn stop(mut self) -> Result<f64, Failed> {
        drop(self.input);
        let peak = self.reading.await??;
        self.child.wait().await?;
        Ok(peak)
    }
}

async fn read(
    mut lines: Lines<BufReader<ChildStdout>>,
    starts: tokio::sync::mpsc::UnboundedSender<Start>,
) -> Result<f64, Failed> {
    let mut peak = f64::NAN;
    while let Some(line) = lines.next_line().await? {
        match line.split_once(' ') {
            Some(("peak", mebibytes)) => peak = mebibytes.parse()?,
            Some((number, at)) => {
                starts.send(Start { number: number.parse()?, at: at.parse()? }).ok();
            }
            None => return Err(format!("the worker said {line}").into()),
        }
    }
    Ok(peak)
}
