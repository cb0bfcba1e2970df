use events_core::prelude::*;

struct Stewards;

impl Stewards {
    #[reconciles]
    async fn sweep(&self, _scope: Scope) -> Result<Report, Failure> {
        Ok(Report::default())
    }
}

fn main() {}
