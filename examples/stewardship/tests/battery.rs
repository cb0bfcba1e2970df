//! Scenarios that are run with every event, with none, and with faults of all kinds: the end state is
//! the same.

mod run;
mod scenarios;

use run::{Struck, Way, run};
use scenarios::{Theme, log};

use crate::harness::Workspace;

/// For each theme.
const SEEDS: u64 = 5;

#[track_caller]
fn three_ways_lead_to_one_state(theme: Theme) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let workspace = Workspace::with_log("");
    let mut struck = Struck::default();
    for seed in 0..SEEDS {
        let log = log(theme, seed);
        let mut state = |way| runtime.block_on(run(&workspace, &log, way, seed, &mut struck));
        let events = state(Way::Events);
        assert!(events.iter().any(|row| row.starts_with("monitor ")), "{theme:?} {seed}");
        assert_eq!(events, state(Way::Reconciler), "{theme:?} {seed}: without events");
        assert_eq!(events, state(Way::Faults), "{theme:?} {seed}: with faults");
    }
    let Struck { failures, cut_off, dropped, repeated } = struck;
    assert!(failures > 10 && cut_off > 5 && dropped > 10 && repeated > 20, "{theme:?}: {struck:?}");
}

macro_rules! batteries {
    ($($name:ident: $theme:ident;)*) => {$(
        #[test]
        fn $name() {
            three_ways_lead_to_one_state(Theme::$theme);
        }
    )*};
}

batteries! {
    several_systems_of_a_connection_converge_in_every_way: SystemsPerConnection;
    several_connections_converge_in_every_way: Connections;
    explicit_beside_inherited_converges_in_every_way: Explicit;
    flipped_flags_converge_in_every_way: Flags;
    reassigned_monitors_converge_in_every_way: Reassignment;
    cascades_converge_in_every_way: Cascades;
    bursts_of_operations_converge_in_every_way: Bursts;
    rolled_back_transactions_converge_in_every_way: Rollbacks;
    takeovers_converge_in_every_way: Takeovers;
    everything_at_once_converges_in_every_way: Everything;
}

#[test]
fn the_scenarios_are_worth_it() {
    let all = [
        Theme::SystemsPerConnection,
        Theme::Connections,
        Theme::Explicit,
        Theme::Flags,
        Theme::Reassignment,
        Theme::Cascades,
        Theme::Bursts,
        Theme::Rollbacks,
        Theme::Takeovers,
        Theme::Everything,
    ];
    let mut logs: Vec<_> =
        all.iter().flat_map(|theme| (0..SEEDS).map(|seed| log(*theme, seed))).collect();
    assert!(logs.len() >= 40);
    logs.sort_by_key(|log| {
        log.iter().map(stewardship::change_log::Change::to_line).collect::<String>()
    });
    logs.dedup();
    assert_eq!(logs.len(), all.len() * usize::try_from(SEEDS).unwrap(), "no two are the same");
}
