use events_core::prelude::*;

#[reconciles]
async fn sweep(_pool: State<u32>, _scope: Scope) -> Result<Report, Failure> {
    Ok(Report::default())
}

fn main() {}
