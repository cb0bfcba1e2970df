use events_core::prelude::*;

#[reconciles(every = 900)]
async fn sweep(_scope: Scope) -> Result<Report, Failure> {
    Ok(Report::default())
}

fn main() {}
