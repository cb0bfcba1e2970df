//! The fault run: many processes on one PostgreSQL, killed, stopped and cut off by a schedule.
//!
//! ```text
//! cargo run --release -p events-tests --bin fault-run                      one run, seed 1
//! cargo run --release -p events-tests --bin fault-run -- --seed 7 --runs 10
//! cargo run --release -p events-tests --bin fault-run -- --seed 7 --show-schedule
//! ```
//!
//! Publishers place orders and workers handle them, all of them processes of this program. When
//! everything is over, what is in the database is compared with what was promised. The program
//! prints a report, and fails if a promise was broken.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "its output is its purpose")]
#![allow(unreachable_pub, reason = "a program exports nothing")]

mod application;
mod arguments;
mod check;
mod children;
mod mortal;
mod points;
mod publisher;
mod random;
mod recovery;
mod report;
mod run;
mod schedule;
mod server;
mod worker;

use arguments::{Arguments, Role};
use clap::Parser;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments = Arguments::parse();
    let ended = match arguments.role {
        Some(Role::Publish(publisher)) => publisher::publish(publisher).await,
        Some(Role::Work(worker)) => worker::work(worker).await,
        None if arguments.run.show_schedule => {
            schedule::show(&arguments.run);
            Ok(())
        }
        None => runs(&arguments.run).await,
    };
    // Not by returning, which would wait for threads: one reads standard input, one may wait for a
    // server that does not come up.
    std::process::exit(match ended {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error:?}");
            1
        }
    })
}

async fn runs(settings: &arguments::Run) -> Result<(), Error> {
    let mut all_kept = true;
    let mut summary = vec![report::Report::SUMMARY_HEAD.to_owned()];
    for seed in (settings.seed..).take(settings.runs) {
        let report = run::run(settings, seed).await?;
        println!("{report}");
        all_kept &= report.broken.is_empty();
        summary.push(report.summary());
    }
    if settings.runs > 1 {
        println!("{}", summary.join("\n"));
    }
    if all_kept { Ok(()) } else { Err("a promise was broken; the reports above say which".into()) }
}
