use events_core::prelude::*;

#[derive(Event)]
struct OrderPlaced {
    order_id: u64,
}

#[reconciles]
async fn sweep(_scope: Scope) -> Result<Report, Failure> {
    Ok(Report::default())
}

foreign_subscriber! {
    event = OrderPlaced,
    task = "shop.tasks.send_confirmation",
    queue = "mail",
    freshness_only,
    reconciled_by = sweep,
}

fn main() {}
