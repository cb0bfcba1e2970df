use events_core::prelude::*;

#[reconciles(every = "15m", jitter = "20m")]
async fn sweep(_scope: Scope) -> Result<Report, Failure> {
    Ok(Report::default())
}

fn main() {}
