use events_core::prelude::*;

#[reconciles]
async fn sweep(_scope: Scope) {}

fn main() {}
