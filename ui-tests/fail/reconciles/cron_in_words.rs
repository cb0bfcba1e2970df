use events_core::prelude::*;

#[reconciles(cron = "daily at three", time_zone = "UTC")]
async fn sweep(_scope: Scope) -> Result<Report, Failure> {
    Ok(Report::default())
}

fn main() {}
