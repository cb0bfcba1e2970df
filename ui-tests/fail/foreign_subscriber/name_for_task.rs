use events_core::prelude::*;

#[derive(Event)]
struct OrderPlaced {
    order_id: u64,
}

foreign_subscriber! {
    event = OrderPlaced,
    queue = "mail",
    freshness_only,
    name = "shop.tasks.send_confirmation",
}

fn main() {}
