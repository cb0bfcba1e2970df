//! What the derives and attributes cost the compiler, beside serde's derives on the same structs.
//!
//! Crates are generated, and the processor time of the one `rustc` process that compiles each is
//! taken: this program is cargo's `RUSTC_WORKSPACE_WRAPPER` there.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::Failed;
use crate::measure::{Of, in_turns, processor_seconds};
use crate::report::Report;

const TYPES: usize = 1_000;
const ROUNDS: usize = 3;
const EVENTS_TARGET: f64 = 0.4;
const SUBSCRIBERS_TARGET: f64 = 1.0;

/// Tells this program, started as a wrapper, where to write what rustc cost.
const LOG: &str = "EVENTS_BENCHES_RUSTC_COST";

/// What is derived or attributed in a generated crate.
#[derive(Debug, Clone, Copy)]
enum Variant {
    Plain,
    Serde,
    Events,
    Subscribers,
    Publishers,
}

impl Variant {
    const ALL: [Self; 5] =
        [Self::Plain, Self::Serde, Self::Events, Self::Subscribers, Self::Publishers];

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "cost_plain",
            Self::Serde => "cost_serde",
            Self::Events => "cost_events",
            Self::Subscribers => "cost_subscribers",
            Self::Publishers => "cost_publishers",
        }
    }
}

pub(crate) fn run(report: &mut Report) -> Result<(), Failed> {
    let crates = Crates::generate()?;
    crates.cargo(&["check", "--quiet"])?; // compiles the dependencies
    let check = |variant: Variant| crates.cost_of_check(variant);
    let [plain, serde, events, subscribers, publishers] = in_turns(
        ROUNDS,
        [
            &mut || check(Variant::Plain),
            &mut || check(Variant::Serde),
            &mut || check(Variant::Events),
            &mut || check(Variant::Subscribers),
            &mut || check(Variant::Publishers),
        ],
    )?;
    let against = |rounds: &crate::measure::Rounds| {
        format!("{:.2} s, {} of the floor", rounds.median(), rounds.over(&serde))
    };
    report.figure("1,000 structs, nothing derived", &format!("{:.2} s", plain.median()));
    report.figure("serde's two derives (floor)", &format!("{:.2} s", serde.median()));
    for (what, rounds, target) in [
        ("derive(Event)", &events, EVENTS_TARGET),
        ("derive(Event) and 1,000 async subscribers", &subscribers, SUBSCRIBERS_TARGET),
    ] {
        let met = rounds.over(&serde).median() <= target;
        report.target(what, &against(rounds), &format!("at most {target:.1}"), met);
    }
    report.figure("derive(Event) and 1,000 publishers", &against(&publishers));
    let (with, without) = crates.binary_sizes()?;
    report.figure(
        "stripped release binary",
        &format!("{} bytes per event with one async subscriber", (with - without) / TYPES as u64),
    );
    Ok(())
}

/// A workspace of generated crates.
struct Crates {
    directory: PathBuf,
}

impl Crates {
    /// In the workspace's own directory for what is built, so that nothing is left behind.
    fn generate() -> Result<Self, Failed> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
        let crates = Self { directory: root.join("target").join("build-cost") };
        let members: Vec<_> = Variant::ALL.iter().map(|variant| variant.name()).collect();
        crates.write(
            "Cargo.toml",
            &format!(
                "[workspace]\nresolver = \"3\"\nmembers = {members:?}\n\n\
             [workspace.dependencies]\n\
             events-core = {{ path = \"{}\" }}\n\
             serde = {{ version = \"1.0\", features = [\"derive\"] }}\n\
             \n[profile.release]\nstrip = true\n",
                root.join("events-core").display(),
            ),
        )?;
        fs::copy(root.join("Cargo.lock"), crates.directory.join("Cargo.lock"))?;
        for variant in Variant::ALL {
            let name = variant.name();
            crates.write(
                &format!("{name}/Cargo.toml"),
                &format!(
                    "[package]\nname = \"{name}\"\nedition = \"2024\"\n\n\
                 [dependencies]\nevents-core.workspace = true\nserde.workspace = true\n"
                ),
            )?;
            crates.write(&format!("{name}/src/lib.rs"), &source(variant))?;
            let uses = "use events_core::prelude::*;";
            crates.write(
                &format!("{name}/src/main.rs"),
                &format!(
                    "{uses}\nuse {name} as _;\nfn main() {{\n\
                 println!(\"{{:?}}\", Events::builder().build().map(|events| \
                 events.registry().subscribers().len()));\n}}\n"
                ),
            )?;
        }
        Ok(crates)
    }

    fn write(&self, path: &str, text: &str) -> Result<(), Failed> {
        let path = self.directory.join(path);
        fs::create_dir_all(path.parent().ok_or("a file is in a directory")?)?;
        fs::write(path, text)?;
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.directory.join("cost")
    }

    fn cargo(&self, arguments: &[&str]) -> Result<(), Failed> {
        let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(arguments)
            .current_dir(&self.directory)
            .env("CARGO_TARGET_DIR", self.directory.join("target"))
            .env("CARGO_INCREMENTAL", "0")
            .env("RUSTC_WORKSPACE_WRAPPER", std::env::current_exe()?)
            .env(LOG, self.log())
            .stdout(Stdio::null())
            .status()?;
        if status.success() { Ok(()) } else { Err(format!("cargo {arguments:?} failed").into()) }
    }

    /// The processor seconds of the check of one crate, by itself.
    fn cost_of_check(&self, variant: Variant) -> Result<f64, Failed> {
        let name = variant.name();
        self.write(&format!("{name}/src/lib.rs"), &source(variant))?; // is newer now
        fs::write(self.log(), "")?;
        self.cargo(&["check", "--quiet", "--lib", "--package", name])?;
        let log = fs::read_to_string(self.log())?;
        let cost = log.lines().find_map(|line| line.strip_prefix(name)).ok_or("was not checked")?;
        Ok(cost.trim().parse()?)
    }

    /// Bytes of a program with a thousand subscribers, and of one with none.
    fn binary_sizes(&self) -> Result<(u64, u64), Failed> {
        let size = |variant: Variant| {
            let name = variant.name();
            self.cargo(&["build", "--quiet", "--release", "--package", name])?;
            let program = self.directory.join("target/release").join(name);
            Ok::<_, Failed>(fs::metadata(program)?.len())
        };
        Ok((size(Variant::Subscribers)?, size(Variant::Plain)?))
    }
}

fn source(variant: Variant) -> String {
    let mut source =
        String::from("#![allow(dead_code, unused_imports)]\nuse events_core::prelude::*;\n");
    let derive = match variant {
        Variant::Plain => "",
        Variant::Serde => "#[derive(serde::Serialize, serde::Deserialize)]\n",
        Variant::Events | Variant::Subscribers | Variant::Publishers => "#[derive(Event)]\n",
    };
    for number in 0..TYPES {
        let fields = "pub system_id: String, pub count: u64, pub enabled: bool, \
             pub owner: Option<String>, pub readings: Vec<f64>";
        writeln!(source, "{derive}pub struct Changed{number} {{ {fields} }}").ok();
        match variant {
            Variant::Subscribers => writeln!(
                source,
                "#[subscribes_to(Changed{number}, freshness_only)]\n\
                 async fn on_changed_{number}(event: Changed{number}) -> Result<(), Failure> \
                 {{ drop(event.system_id); Ok(()) }}"
            ),
            Variant::Publishers => writeln!(
                source,
                "#[publishes(Changed{number})]\n\
                 pub fn change_{number}(session: &mut impl Session, event: Changed{number}) \
                 -> Result<(), PublishError> \
                 {{ publish_after_commit(session, event)?; Ok(()) }}"
            ),
            _ => Ok(()),
        }
        .ok();
    }
    source
}

/// If cargo has started this program in rustc's place: runs rustc and writes down its cost.
pub(crate) fn as_rustc_wrapper() -> Option<ExitCode> {
    let log = std::env::var_os(LOG)?;
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (rustc, rest) = arguments.split_first()?;
    let status = Command::new(rustc).args(rest).env_remove(LOG).status().ok()?;
    let name = rest.iter().position(|argument| argument == "--crate-name");
    if let Some(name) = name.and_then(|at| rest.get(at + 1)?.to_str())
        && let Some(cost) = processor_seconds(Of::ItsChildren)
    {
        let before = fs::read_to_string(&log).unwrap_or_default();
        fs::write(&log, format!("{before}{name} {cost}\n")).ok()?;
    }
    Some(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
