use events_core::prelude::*;

#[derive(Event)]
struct OrderPlaced {
    order_id: u64,
}

foreign_subscriber! {
    event = OrderPlaced,
    task = "",
    queue = "mail",
    freshness_only,
}

fn main() {}
