use events_core::prelude::*;

#[reconciles]
fn sweep(_scope: Scope) -> Result<Report, Failure> {
    Ok(Report::default())
}

fn main() {}
