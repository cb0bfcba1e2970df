//! A service, or a worker, that runs as a process, and how it is asked.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::http::{HeaderMap, Request};

use crate::harness::{Workspace, stewardship};

/// The token of the services here.
pub(super) const TOKEN: &str = "a-token-of-the-tests";

/// A process, killed in the end if it still runs.
pub(super) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it, with its log lines, as JSON, in a file of this name.
    fn start(mut command: Command, log: PathBuf) -> Self {
        let lines = File::create(&log).unwrap();
        command.env("STEWARDSHIP_LOG__FORMAT", "json").stderr(lines);
        Self { child: command.spawn().unwrap(), log }
    }

    /// A worker on the database of the workspace.
    pub(super) fn worker(workspace: &Workspace, name: &str, variables: &[(&str, &str)]) -> Self {
        let mut command = stewardship(&["worker", "--database", &workspace.database.location()]);
        command.envs(variables.iter().copied());
        Self::start(command, workspace.path(&format!("{name}.log")))
    }

    /// Sends SIGTERM.
    pub(super) fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// Waits until it has ended.
    pub(super) fn ended(&mut self) -> ExitStatus {
        eventually(|| self.child.try_wait().unwrap())
    }

    /// The lines that it has logged and finished.
    pub(super) fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.log).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The first line with this message for which `wanted` holds, when it is there.
    pub(super) fn line(&self, message: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(|| {
            let mut lines = self.lines().into_iter();
            lines.find(|line| line["fields"]["message"] == message && wanted(line))
        })
    }
}

impl Drop for Process {
    #[allow(clippy::print_stderr)] // of a test that failed
    fn drop(&mut self) {
        self.child.kill().ok(); // it may have ended
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// Asks until there is something. Processes have nothing else to wait upon.
#[track_caller]
pub(super) fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < Duration::from_mins(1), "it does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A service.
pub(super) struct Service {
    pub(super) process: Process,
    /// Host and port.
    pub(super) address: String,
    token: String,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// Null if there was none.
    pub(super) body: Value,
}

impl Service {
    /// On the database of the workspace, with a worker inside.
    pub(super) fn start(workspace: &Workspace) -> Self {
        Self::start_with(workspace, &[])
    }

    /// With these variables.
    pub(super) fn start_with(workspace: &Workspace, variables: &[(&str, &str)]) -> Self {
        let database = workspace.database.location();
        Self::start_on(&database, &workspace.path("serve.log"), variables)
    }

    /// Configured by this file, too.
    pub(super) fn start_with_file(workspace: &Workspace, file: &Path) -> Self {
        let mut command = stewardship(&["serve", "--config"]);
        command.arg(file);
        let database = workspace.database.location();
        Self::start_command(command, &database, &workspace.path("serve.log"), &[])
    }

    /// On this database.
    pub(super) fn start_on(database: &str, log: &Path, variables: &[(&str, &str)]) -> Self {
        Self::start_command(stewardship(&["serve"]), database, log, variables)
    }

    fn start_command(
        mut command: Command,
        database: &str,
        log: &Path,
        variables: &[(&str, &str)],
    ) -> Self {
        command.args(["--listen", "127.0.0.1:0", "--database", database]);
        command.env("STEWARDSHIP_TOKEN", TOKEN).envs(variables.iter().copied());
        command.stdout(Stdio::piped());
        let mut process = Process::start(command, log.to_owned());
        let mut told = BufReader::new(process.child.stdout.take().unwrap());
        let mut line = String::new();
        told.read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on http://");
        let address = address.unwrap_or_else(|| panic!("it does not listen: {line:?}")).to_owned();
        Self { process, address, token: TOKEN.to_owned() }
    }

    /// For who has this token; none if it is empty.
    pub(super) fn with_token(mut self, token: &str) -> Self {
        token.clone_into(&mut self.token);
        self
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None)
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, Some(body))
    }

    pub(super) fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, Some(body))
    }

    pub(super) fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let content_type = [("content-type", "application/json")];
        match body {
            Some(body) => self.send_text(method, path, &content_type, &body.to_string()),
            None => self.send_text(method, path, &[], ""),
        }
    }

    /// Sends a body as it is.
    pub(super) fn send_text(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.send_as(&self.token, method, path, headers, body)
    }

    /// As [`send_text`](Self::send_text), with this token; none if it is empty.
    pub(super) fn send_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let uri = format!("http://{}{path}", self.address);
        let mut request = Request::builder().method(method).uri(uri);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_mins(1)))
            .build()
            .into();
        let answered = match body {
            "" => agent.run(request.body(()).unwrap()),
            body => agent.run(request.body(body.to_owned()).unwrap()),
        };
        let mut answered = answered.unwrap();
        let text = answered.body_mut().read_to_string().unwrap();
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
        Answer { status: answered.status().as_u16(), headers: answered.headers().clone(), body }
    }

    /// Adds to the organisation: user `ann`, systems `crm` and `erp`, connection `dwh` to both, and
    /// the monitor `orders`, which inherits over it.
    pub(super) fn with_organisation(self) -> Self {
        let links: Vec<_> = ["crm", "erp"]
            .map(|system| json!({ "system_id": system, "connection_config_id": "dwh" }))
            .into();
        let part = json!({ "users": ["ann", "bob"], "systems": ["crm", "erp"],
            "connections": ["dwh"], "links": links });
        self.post("/organisation", &part).assert(200);
        let monitor = json!({ "key": "orders", "connection_config_id": "dwh",
            "inherit_system_stewards": true });
        self.post("/monitors", &monitor).assert(201);
        self
    }

    /// The stewards of a monitor: `user explicit, systems`.
    pub(super) fn stewards(&self, monitor: &str) -> Vec<String> {
        let answer = self.get(&format!("/monitors/{monitor}/stewards"));
        let told = |steward: &Value| {
            let inherited = steward["inherited_from"].as_array().unwrap();
            let systems: Vec<_> = inherited.iter().map(|id| id.as_str().unwrap()).collect();
            let explicit = if steward["explicit"] == true { " explicit" } else { "" };
            format!("{}{explicit} {}", steward["user_id"].as_str().unwrap(), systems.join(" "))
        };
        answer.assert(200)["items"].as_array().unwrap().iter().map(told).collect()
    }

    /// Waits until a monitor has these stewards.
    #[track_caller]
    pub(super) fn wait_for_stewards(&self, monitor: &str, wanted: &[&str]) {
        eventually(|| (self.stewards(monitor) == wanted).then_some(()));
    }
}

impl Answer {
    /// That it has this status; gives the body.
    #[track_caller]
    pub(super) fn assert(&self, status: u16) -> &Value {
        assert_eq!(self.status, status, "{self:?}");
        &self.body
    }

    /// That it is a problem of this status, as RFC 9457 has it; gives its detail.
    #[track_caller]
    pub(super) fn assert_problem(&self, status: u16) -> &str {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.assert(status);
        assert_eq!(problem["status"], status, "{self:?}");
        assert!(problem["type"].is_string() && problem["title"].is_string(), "{self:?}");
        assert_eq!(problem["instance"], self.header("x-request-id"), "{self:?}");
        problem["detail"].as_str().unwrap_or_default()
    }

    #[track_caller]
    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}"));
        value.to_str().unwrap()
    }
}
