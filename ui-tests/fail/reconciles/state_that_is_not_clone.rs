use events_core::prelude::*;

struct Pool;

#[reconciles]
async fn sweep(_scope: Scope, _pool: State<Pool>) -> Result<Report, Failure> {
    Ok(Report::default())
}

fn main() {}
