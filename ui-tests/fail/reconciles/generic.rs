use events_core::prelude::*;

#[reconciles]
async fn sweep<T: Send>(_scope: Scope) -> Result<Report, Failure> {
    Ok(Report::default())
}

fn main() {}
