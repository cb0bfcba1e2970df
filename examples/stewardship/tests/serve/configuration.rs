//! How the program ends that is configured wrongly, and starts that is configured by a file. What is
//! wrong with which key is tested where it is read.

use std::fs;

use super::process::{Service, TOKEN};
use crate::harness::{Workspace, stewardship};

#[test]
fn every_mistake_is_told_at_once_and_nothing_starts() {
    let workspace = Workspace::with_log("");
    let file = workspace.path("stewardship.toml");
    fs::write(&file, "inheritance_sweep_minutes = 1441\nwarker = true\n").unwrap();
    for command in ["serve", "worker"] {
        let mut command = stewardship(&[command, "--config", file.to_str().unwrap()]);
        command.args(["--database", &workspace.database.location()]);
        command.env("STEWARDSHIP_TOKEN", TOKEN).env("STEWARDSHIP_EVENTS__LEASE", "soon");
        let ended = command.output().unwrap();
        assert_eq!(ended.status.code(), Some(78), "{ended:?}");
        let told = String::from_utf8(ended.stderr).unwrap();
        for said in [
            "`inheritance_sweep_minutes`",
            "1441 is not from 1 to 1440",
            "stewardship.toml",
            "`warker`",
            "`events.lease`",
            "STEWARDSHIP_EVENTS__LEASE",
        ] {
            assert!(told.contains(said), "{said} is missing: {told}");
        }
        assert!(ended.stdout.is_empty());
    }
}

#[test]
fn a_file_configures_what_no_variable_does() {
    let workspace = Workspace::with_log("");
    let file = workspace.path("stewardship.toml");
    let text =
        "worker = false\ntokens = [{ token = 'a-token-in-the-file', scopes = ['monitor:read'] }]
        [events]\nenabled = false\n";
    fs::write(&file, text).unwrap();
    let service = Service::start_with_file(&workspace, &file);
    assert_eq!(service.get("/health/ready").assert(200)["worker"], "apart");
    service.send_as("a-token-in-the-file", "GET", "/monitors", &[], "").assert(200);
    service.send_as("a-token-in-the-file", "GET", "/users", &[], "").assert_problem(403);
    let service = service.with_organisation();
    // The kill switch: what is published is dropped, and the log says whose it was.
    let dropped = "dispatch is disabled by the kill switch: event dropped";
    service.process.line(dropped, |line| line["span"]["path"] == "/organisation");
}
