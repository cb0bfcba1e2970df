//! What this process and its machine say of themselves, where `/proc` tells it.

use std::fs;

use serde_json::{Value, json};

/// How this software is called in the fleet.
pub(super) const IDENTITY: &str = "events-rs";

pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The system's name as Python's `platform.system()` has it.
pub(super) fn system() -> &'static str {
    match std::env::consts::OS {
        "linux" => "Linux",
        "macos" => "Darwin",
        "windows" => "Windows",
        other => other,
    }
}

/// How many processes have been ready to run for the last one, five and fifteen minutes.
pub(super) fn load_average() -> [f64; 3] {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut numbers = text.split(' ').map_while(|number| number.parse().ok());
    std::array::from_fn(|_| numbers.next().unwrap_or(0.0))
}

/// What the process has used, with the names of `getrusage`; nothing if nobody can tell.
pub(super) fn usage() -> Option<Value> {
    /// `USER_HZ`, which is 100 on every Linux that is in use.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name, in parentheses, may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let number = |field: usize| fields.get(field).and_then(|text| text.parse::<u32>().ok());
    let seconds = |field| number(field).map(|ticks| f64::from(ticks) / TICKS_PER_SECOND);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let from_status = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(json!({
        "utime": seconds(11)?,
        "stime": seconds(12)?,
        "maxrss": from_status("VmHWM"),
        "minflt": number(7),
        "majflt": number(9),
        "nvcsw": from_status("voluntary_ctxt_switches"),
        "nivcsw": from_status("nonvoluntary_ctxt_switches"),
    }))
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn the_process_knows_what_it_has_used() {
        let usage = super::usage().unwrap();
        assert!(usage["maxrss"].as_u64().unwrap() > 100, "{usage}");
        assert!(usage["utime"].is_f64() && usage["nvcsw"].is_u64(), "{usage}");
    }
}
