use events_core::prelude::*;

#[reconciles(run_on_start)]
async fn sweep(_scope: Scope) -> Result<Report, Failure> {
    Ok(Report::default())
}

fn main() {}
