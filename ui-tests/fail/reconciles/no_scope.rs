use events_core::prelude::*;

#[reconciles]
async fn sweep() -> Result<Report, Failure> {
    Ok(Report::default())
}

fn main() {}
