use events_core::prelude::*;

#[reconciles(every = "15m", time_zone = "UTC")]
async fn sweep(_scope: Scope) -> Result<Report, Failure> {
    Ok(Report::default())
}

fn main() {}
