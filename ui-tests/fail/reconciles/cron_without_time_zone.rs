use events_core::prelude::*;

#[reconciles(cron = "0 3 * * *")]
async fn sweep(_scope: Scope) -> Result<Report, Failure> {
    Ok(Report::default())
}

fn main() {}
