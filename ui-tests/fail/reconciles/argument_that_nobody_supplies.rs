use events_core::prelude::*;

#[reconciles]
async fn sweep(_scope: Scope, _context: TaskContext) -> Result<Report, Failure> {
    Ok(Report::default())
}

fn main() {}
