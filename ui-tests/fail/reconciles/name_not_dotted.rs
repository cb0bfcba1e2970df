use events_core::prelude::*;

#[reconciles(name = "sweep all")]
async fn sweep(_scope: Scope) -> Result<Report, Failure> {
    Ok(Report::default())
}

fn main() {}
