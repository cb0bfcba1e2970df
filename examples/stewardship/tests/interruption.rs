//! Killed at any moment, the replay goes on where it was, and so do its workers.
#![cfg(unix)]

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use stewardship::generate::Plan;

use crate::harness::{Ended, Workspace};

fn organisation(lines: usize) -> String {
    Plan { seed: 11, lines, users: 15, systems: 25, connections: 20, monitors: 60 }.text().unwrap()
}

/// Somewhere below, another time elsewhere.
fn somewhere_below(bound: u64) -> u64 {
    RandomState::new().build_hasher().finish() % bound
}

/// Waits until so many lines are dealt with, or the process has ended.
fn wait_for_lines(workspace: &Workspace, lines: u64, process: &mut Child) {
    while workspace.lines_done().cast_unsigned() < lines {
        if process.try_wait().unwrap().is_some() {
            return;
        }
        std::thread::sleep(Duration::from_millis(2)); // the file has nothing to wait upon
    }
}

#[test]
fn a_replay_that_is_killed_resumes_exactly() {
    let log = organisation(1_200);
    let undisturbed = Workspace::with_log(&log);
    let expected = undisturbed.replay();
    expected.assert_converged(0);

    let workspace = Workspace::with_log(&log);
    for round in 0..3 {
        let moment = round * 350 + somewhere_below(350);
        let mut process = workspace.command(&[]).stderr(Stdio::null()).spawn().unwrap();
        wait_for_lines(&workspace, moment, &mut process);
        process.kill().unwrap(); // SIGKILL
        process.wait().unwrap();
    }
    let ended = workspace.replay();
    ended.assert_converged(0);
    for number in ["lines applied", "lines refused", "events published", "tasks done"] {
        assert_eq!(ended.number(number), expected.number(number), "{number}: {ended:?}");
    }
    assert_eq!(workspace.everything(), undisturbed.everything());
}

#[test]
fn a_replay_whose_workers_are_processes_converges_though_one_is_killed() {
    let log = organisation(1_200);
    let workspace = Workspace::with_log(&log);
    let mut command = workspace.command(&["--workers", "3"]);
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
    let first: String = told.next().unwrap();
    let victim = first.strip_prefix("worker 1 started (process ").unwrap().trim_end_matches(')');

    wait_for_lines(&workspace, 100 + somewhere_below(300), &mut process);
    assert!(Command::new("kill").args(["-KILL", victim]).status().unwrap().success());
    let told: Vec<_> = told.collect();
    let output = process.wait_with_output().unwrap();
    let ended = Ended { stderr: told.join("\n"), ..output.into() };
    assert!(ended.stderr.contains("worker 1 died"), "{ended:?}");
    ended.assert_converged(0);
    assert_eq!(ended.number("tasks dead"), 0);
    assert_eq!(ended.number("lines applied"), 1_200);
}

#[test]
fn two_replays_at_once_do_not_apply_a_line_twice() {
    let log = organisation(1_200);
    let undisturbed = Workspace::with_log(&log);
    undisturbed.replay().assert_converged(0);

    let workspace = Workspace::with_log(&log);
    let mut first = workspace.command(&[]);
    let mut first =
        first.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    wait_for_lines(&workspace, 50, &mut first);
    let second = workspace.replay();
    let first = Ended::from(first.wait_with_output().unwrap());
    for ended in [&first, &second] {
        match ended.code {
            Some(0) => ended.assert_converged(0),
            _ => {
                assert_eq!(ended.code, Some(70), "{ended:?}");
                assert!(ended.stderr.contains("let one replay at a time work on it"), "{ended:?}");
            }
        }
    }
    let ended = workspace.replay();
    ended.assert_converged(0);
    assert_eq!(ended.number("lines refused"), 0);
    assert_eq!(workspace.everything(), undisturbed.everything());
}

#[test]
fn a_replay_that_is_interrupted_says_how_to_go_on() {
    let workspace = Workspace::with_log(organisation(1_200));
    let mut command = workspace.command(&[]);
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_lines(&workspace, 50, &mut process);
    let id = process.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let ended = Ended::from(process.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.stderr.contains("run the same command again to resume"), "{ended:?}");
    workspace.replay().assert_converged(0);
}

#[test]
fn the_workers_of_a_killed_replay_stop() {
    let workspace = Workspace::with_log(organisation(1_200));
    let mut command = workspace.command(&["--workers", "1"]);
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(told.next().unwrap().starts_with("worker 1 started"));
    wait_for_lines(&workspace, 50, &mut process);
    process.kill().unwrap();
    process.wait().unwrap();
    // The worker has inherited the other end: it closes when the last of them has ended.
    told.for_each(drop);
    workspace.replay().assert_converged(0);
}
