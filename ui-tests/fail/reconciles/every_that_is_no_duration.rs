use events_core::prelude::*;

#[reconciles(every = "hourly")]
async fn sweep(_scope: Scope) -> Result<Report, Failure> {
    Ok(Report::default())
}

fn main() {}
