use events_core::prelude::*;

#[reconciles(deadline = "5m")]
async fn sweep(_scope: Scope) -> Result<Report, Failure> {
    Ok(Report::default())
}

fn main() {}
