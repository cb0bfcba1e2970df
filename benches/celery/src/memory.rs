//! What memory a worker has: idle, and after many tasks.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use events_core::transport::Transport as _;
use tokio::runtime::Runtime;

use crate::Failed;
use crate::consume::{celerys_worker, python_is_done};
use crate::report::Report;
use crate::world::{self, World};

const TASKS: usize = 1_000_000;
const PYTHONS: usize = 2_000;

/// What the worker may hold more at the end than after a quarter.
const GROWTH: f64 = 1.10;

/// It is idle by then.
const SETTLED: Duration = Duration::from_secs(1);

pub(crate) fn run(world: &World, report: &mut Report) -> Result<(), Failed> {
    ours(world, report)?;
    celery(world, report)
}

fn ours(world: &World, report: &mut Report) -> Result<(), Failed> {
    let database = world.server.database();
    let mut child = Command::new(std::env::current_exe()?)
        .args(["memory-child", &database.url()])
        .stdout(Stdio::piped())
        .stdin(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("its output is piped")?).lines();
    let pid = child.id();
    let mut completed = |at_least: u64| -> Result<(), Failed> {
        for line in lines.by_ref() {
            if line?.parse::<u64>()? >= at_least {
                return Ok(());
            }
        }
        Err("the process that works has ended".into())
    };
    completed(0)?;
    std::thread::sleep(SETTLED);
    let idle = Memory::of(pid)?;
    report.figure("worker, idle", &idle.told());
    let quarter = world.some(TASKS) / 4;
    let mut measured = Vec::new();
    for part in 1..=4 {
        world.runtime.block_on(async {
            let events = world::events()?;
            let broker = world::broker(&database.url(), &events).await?;
            Ok::<_, Failed>(broker.transport().send(world::tasks(&events, quarter)).await?)
        })?;
        completed((part * quarter) as u64)?;
        let memory = Memory::of(pid)?;
        report.figure(&format!("worker, after {} tasks", part * quarter), &memory.told());
        measured.push(memory.rss);
    }
    drop(child.stdin.take()); // tells it to end
    child.wait()?;
    let growth = measured[3] / measured[0];
    let figure = format!("{growth:.3}");
    report.target("RSS at the end over RSS at 25 %", &figure, "at most 1.10", growth <= GROWTH);
    Ok(())
}

/// The process that works. Prints how many tasks it has completed, again and again.
pub(crate) fn work(url: &str) -> Result<(), Failed> {
    Runtime::new()?.block_on(async {
        let events = world::events()?;
        let broker = world::broker(url, &events).await?;
        let worker = world::worker(&events, &broker).build()?;
        let statistics = worker.statistics();
        let mut parent =
            tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
        world::run_while(worker, async {
            loop {
                println!("{}", statistics.completed());
                tokio::select! {
                    _ = &mut parent => return,
                    () = tokio::time::sleep(Duration::from_millis(20)) => {}
                }
            }
        })
        .await
    })
}

fn celery(world: &World, report: &mut Report) -> Result<(), Failed> {
    let database = world.server.database();
    let fleet = World::celery(&database);
    let worker = fleet.worker(&celerys_worker());
    std::thread::sleep(SETTLED);
    report.figure("Celery, prefork 2, idle", &Memory::of_all(worker.pid())?.told());
    let count = world.some(PYTHONS);
    world.runtime.block_on(async {
        let broker = world::broker(&database.url(), &world::events()?).await?;
        let tasks = world::tasks_for_python("fleet.nothing", count);
        broker.transport().send(tasks).await?;
        python_is_done(&database).await
    })?;
    let after = format!("Celery, prefork 2, after {count} tasks");
    report.figure(&after, &Memory::of_all(worker.pid())?.told());
    Ok(())
}

/// Of one process, or of several, in MiB.
#[derive(Debug, Clone, Copy, Default)]
struct Memory {
    rss: f64,
    /// What several share counts once.
    pss: f64,
    processes: usize,
}

impl Memory {
    fn of(pid: u32) -> Result<Self, Failed> {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let mebibytes = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
        };
        let both = mebibytes("Rss:").zip(mebibytes("Pss:"));
        let (rss, pss) = both.ok_or("this system tells no Rss and Pss")?;
        Ok(Self { rss, pss, processes: 1 })
    }

    /// Of a process and all that descend from it.
    fn of_all(first: u32) -> Result<Self, Failed> {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            let parent = after_name.split_whitespace().nth(1).and_then(|pid| pid.parse().ok());
            children.entry(parent.unwrap_or(0)).or_default().push(pid);
        }
        let mut all = Self::default();
        let mut waiting = vec![first];
        while let Some(pid) = waiting.pop() {
            waiting.extend(children.get(&pid).into_iter().flatten());
            let one = Self::of(pid)?;
            all.rss += one.rss;
            all.pss += one.pss;
            all.processes += 1;
        }
        Ok(all)
    }

    fn told(self) -> String {
        let Self { rss, pss, processes } = self;
        format!("RSS {rss:.1} MiB, PSS {pss:.1} MiB, processes: {processes}")
    }
}
