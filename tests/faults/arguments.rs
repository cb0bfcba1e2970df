//! What the program can be told.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::schedule::RESTARTS;

#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(flatten)]
    pub run: Run,
    #[command(subcommand)]
    pub role: Option<Role>,
}

#[derive(Debug, Args)]
pub struct Run {
    /// Decides the schedule of faults.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many runs, each with the next seed.
    #[arg(long, default_value_t = 1)]
    pub runs: usize,
    /// How many orders are placed, with one event each.
    #[arg(long, default_value_t = 50_000)]
    pub events: i64,
    /// How many processes publish.
    #[arg(long, default_value_t = 4)]
    pub publishers: u32,
    /// How many processes handle.
    #[arg(long, default_value_t = 4)]
    pub workers: u32,
    /// The most orders per second, of all publishers together.
    #[arg(long, default_value_t = 1_000)]
    pub rate: u32,
    /// About how many seconds pass between restarts of the server, of which there are three.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..))]
    pub restart_every: u64,
    /// Report how long recovery takes without requiring anything of it: for machines that are
    /// busy with other things.
    #[arg(long)]
    pub any_recovery_time: bool,
    /// Print the first minute of the schedule instead.
    #[arg(long)]
    pub show_schedule: bool,
}

impl Run {
    /// A run that takes longer hangs.
    pub fn longest(&self) -> Duration {
        let publishing = self.events.unsigned_abs() / u64::from(self.rate.max(1));
        let restarting = u64::from(RESTARTS) * self.restart_every;
        Duration::from_mins(4) + Duration::from_secs(10 * publishing.max(restarting))
    }

    /// How many orders each publisher places.
    pub fn events_of(&self, publisher: u32) -> i64 {
        let publishers = i64::from(self.publishers);
        self.events / publishers + i64::from(i64::from(publisher) < self.events % publishers)
    }
}

/// What a process of the run is there for.
#[derive(Debug, Subcommand)]
#[command(hide = true)]
pub enum Role {
    Publish(Publish),
    Work(Work),
}

#[derive(Debug, Args)]
pub struct Publish {
    pub url: String,
    pub publisher: i64,
    /// It is done when it has placed so many.
    pub orders: i64,
    /// The most orders per second.
    pub rate: u32,
}

#[derive(Debug, Args)]
pub struct Work {
    pub url: String,
}
