use events_core::prelude::*;

#[reconciles]
async fn sweep(_scope: Scope) -> Result<(), Failure> {
    Ok(())
}

fn main() {}
