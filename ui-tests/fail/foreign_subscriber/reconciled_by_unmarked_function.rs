use events_core::prelude::*;

#[derive(Event)]
struct OrderPlaced {
    order_id: u64,
}

fn sweep() {}

foreign_subscriber! {
    event = OrderPlaced,
    task = "shop.tasks.send_confirmation",
    queue = "mail",
    reconciled_by = sweep,
}

fn main() {}
