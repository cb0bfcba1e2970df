//! Workers in Python and in Rust on one queue are killed at random.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use celery_fleet::{Fleet, PythonWorker, Version};
use tokio::time::sleep;

use super::by_python;
use crate::celery::world::{PATIENCE, TASKS, World, report, solo};

/// How many tasks, unless the environment variable `CELERY_KILL_TASKS` says so.
const TASK_COUNT: u32 = 20_000;

/// How often a worker of each kind is killed at least.
const LEAST_KILLS: u32 = 2;

struct Run {
    world: World,
    fleet: Fleet,
    done: AtomicBool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_task_is_lost_though_workers_of_both_languages_are_killed_at_random() {
    let tasks = std::env::var("CELERY_KILL_TASKS").map_or(TASK_COUNT, |it| it.parse().unwrap());
    let world = World::new();
    let fleet = world.fleet(Version::Newest).transport_option("visibility_timeout", 2);
    let run = Arc::new(Run { world, fleet, done: AtomicBool::new(false) });
    let began = Instant::now();
    run.world.publish(&format!("--to {tasks} --batch 1000 --takes 15")).await;
    let in_python = {
        let run = run.clone();
        tokio::task::spawn_blocking(move || run.kill_python())
    };
    let in_rust = run.kill_rust(tasks).await;
    let in_python = in_python.await.unwrap();
    let executions = run.executions();
    report(&format!(
        "{tasks} tasks in {:.1?}: {in_python} kills of a worker in Python, {in_rust} of one in Rust; \
         {} executions in Python; {} executions more than tasks",
        began.elapsed(),
        run.fleet.records().len(),
        executions.values().sum::<u32>() - tasks,
    ));
    assert!(in_python >= LEAST_KILLS && in_rust >= LEAST_KILLS);
}

impl Run {
    /// How often each number was executed.
    fn executions(&self) -> BTreeMap<u32, u32> {
        let by_rust = self.world.executions();
        let by_rust = by_rust.iter().filter(|it| it.ended).map(|it| it.number);
        let mut executions = BTreeMap::new();
        for number in by_rust.chain(by_python(&self.fleet)) {
            *executions.entry(number).or_default() += 1;
        }
        executions
    }

    /// Kills one of two workers again and again, until all tasks are executed. How often.
    async fn kill_rust(&self, tasks: u32) -> u32 {
        let start = || {
            self.world.program("work", "--shared --visibility 2000 --lease 1000 --concurrency 8")
        };
        let mut workers = [start(), start()];
        let mut progress = (0, Instant::now());
        for kills in 0.. {
            sleep(Duration::from_millis(fastrand::u64(50..700))).await;
            let executed = self.executions().len();
            if executed == tasks as usize {
                self.done.store(true, Ordering::SeqCst);
                return kills;
            }
            if executed > progress.0 {
                progress = (executed, Instant::now());
            } else if progress.1.elapsed() > PATIENCE {
                self.done.store(true, Ordering::SeqCst);
                panic!("{}", self.world.whereabouts(&self.missing(tasks)));
            }
            // At the end there is nothing to do but to wait until what the dead held is offered again.
            if executed + 200 < tasks as usize {
                let worker = &mut workers[fastrand::usize(..2)];
                worker.kill().await;
                *worker = start();
            }
        }
        unreachable!("it returns")
    }

    fn missing(&self, tasks: u32) -> Vec<u32> {
        let executions = self.executions();
        (1..=tasks).filter(|number| !executions.contains_key(number)).collect()
    }

    /// The same with one worker in Python.
    fn kill_python(&self) -> u32 {
        let mut left_behind = BTreeSet::new();
        for kills in 0.. {
            let mut worker = self.fleet.worker(&solo(TASKS));
            thread::sleep(Duration::from_millis(fastrand::u64(50..700)));
            if !self.stop_while_it_holds(&mut worker, &mut left_behind) {
                return kills;
            }
            worker.kill();
        }
        unreachable!("it returns")
    }

    /// Between taking a message off its list and writing down that it has it, kombu loses the message
    /// when it is killed: that is Celery's own, and not what is tested. So it is suspended, and killed if
    /// it holds one; one is all that it may hold. False if everything is done first.
    fn stop_while_it_holds(
        &self,
        worker: &mut PythonWorker,
        left_behind: &mut BTreeSet<String>,
    ) -> bool {
        while !self.done.load(Ordering::SeqCst) {
            worker.signal("STOP");
            let tags = self.world.redis(&["HKEYS", "{}unacked"]);
            // Those of workers in Rust, and of what waits, have dots.
            let held =
                tags.into_iter().find(|tag| !tag.contains('.') && !left_behind.contains(tag));
            if let Some(held) = held {
                left_behind.insert(held);
                return true;
            }
            worker.signal("CONT");
            thread::sleep(Duration::from_millis(fastrand::u64(1..20)));
        }
        false
    }
}
