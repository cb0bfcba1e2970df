use events_core::prelude::*;

#[derive(Event)]
struct OrderPlaced {
    order_id: u64,
}

struct Order;

foreign_subscriber! {
    event = Order,
    task = "shop.tasks.send_confirmation",
    queue = "mail",
    freshness_only,
}

fn main() {}
