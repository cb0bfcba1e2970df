use events_core::prelude::*;

#[reconciles(cron = "0 3 * * *", time_zone = "Berlin")]
async fn sweep(_scope: Scope) -> Result<Report, Failure> {
    Ok(Report::default())
}

fn main() {}
