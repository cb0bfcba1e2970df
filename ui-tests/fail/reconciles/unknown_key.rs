use events_core::prelude::*;

#[reconciles(schedule = "15m")]
async fn sweep(_scope: Scope) -> Result<Report, Failure> {
    Ok(Report::default())
}

fn main() {}
