use events_core::prelude::*;

#[reconciles(every = 7, nam = "x")]
async fn sweep(_scope: Scope) -> Result<Report, Failure> {
    Ok(Report::default())
}

fn main() {}
