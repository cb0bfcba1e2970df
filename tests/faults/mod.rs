//! The fault run, small enough for every test run; `docs/reliability.md` tells of the large one.

use std::process::{Command, Output};

fn fault_run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fault-run")).args(arguments).output().expect("it runs")
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|part| String::from_utf8_lossy(part)).join("\n")
}

#[test]
fn every_promise_is_kept_while_processes_and_connections_die_and_the_server_restarts() {
    let output = fault_run(&[
        "--seed=7",
        "--events=2000",
        "--rate=160",
        "--restart-every=4",
        "--any-recovery-time",
    ]);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn same_seed_gives_the_same_schedule_of_faults() {
    let schedule = |seed: &str| text(&fault_run(&["--show-schedule", seed]));
    let one = schedule("--seed=1");
    for fault in ["kill", "stop", "terminate", "Fast", "Immediate", "Crash"] {
        assert!(one.contains(fault), "{one}");
    }
    assert_eq!(one, schedule("--seed=1"));
    assert_ne!(one, schedule("--seed=2"));
}
