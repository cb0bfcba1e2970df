use events_core::prelude::*;

#[derive(Event)]
struct OrderPlaced {
    order_id: u64,
}

foreign_subscriber! {
    event = OrderPlaced,
    taks = "shop.tasks.send_confirmation",
    queue = "mail",
    freshness_only,
}

fn main() {}
