use events_core::prelude::*;

#[derive(Event)]
struct OrderPlaced {
    order_id: u64,
}

foreign_subscriber! {
    event = OrderPlaced,
    task = "send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_send_",
    queue = "mail",
    freshness_only,
}

fn main() {}
