use events_core::prelude::*;

#[reconciles(jitter = "30s")]
async fn sweep(_scope: Scope) -> Result<Report, Failure> {
    Ok(Report::default())
}

fn main() {}
