use events_core::prelude::*;

#[reconciles(every = "15m", deadline = "1h")]
async fn sweep(_scope: Scope) -> Result<Report, Failure> {
    Ok(Report::default())
}

fn main() {}
