//! Subscribers whose handlers are in other programs: every key, and wherever an item may stand.

use std::time::Duration;

use events_core::prelude::*;
use events_core::subscriber::{Handler, Subscriber};

#[derive(Event)]
#[event(name = "shop.order_placed")]
struct OrderPlaced {
    order_id: u64,
}

mod paid {
    #[derive(events_core::Event)]
    pub(crate) struct OrderPaid {}
}

foreign_subscriber! {
    event = OrderPlaced,
    task = "Shop: send it!",
    queue = "mail",
    priority = -7,
    delay = "1m 30s",
    reconciled_by = sweep,
    crate = events_core,
}

foreign_subscriber!(event = OrderPlaced, task = "shop.tasks.count", queue = "numbers", freshness_only);

foreign_subscriber! { event = paid::OrderPaid, task = "shop.tasks.thank", queue = "mail" }

#[reconciles(name = "sweeps.all")]
async fn sweep(_scope: Scope) -> Result<Report, Failure> {
    Ok(Report::default())
}

macro_rules! tell {
    ($event:ty, $task:literal, $other:path, $other_task:expr) => {
        foreign_subscriber! { event = $event, task = $task, queue = "mail", freshness_only }
        foreign_subscriber! { event = $other, task = $other_task, queue = "mail", freshness_only }
    };
}

tell!(OrderPlaced, "by.a.macro", crate::paid::OrderPaid, "by.a.macro.too");

fn declared(task: &str) -> &'static Subscriber {
    let registry = events_core::Registry::linked().expect("all is well");
    registry.foreign_subscriber(task).expect("it is declared")
}

fn main() {
    foreign_subscriber! { event = OrderPlaced, task = "in.a.function", queue = "mail" }

    let full = declared("Shop: send it!");
    assert_eq!((full.event.name, full.queue, full.priority), ("shop.order_placed", Some("mail"), -7));
    assert_eq!(full.delay, Some(Duration::from_secs(90)));
    assert_eq!(full.reconciled_by, Some("sweeps.all"));
    assert!(!full.freshness_only && full.needs.is_empty() && full.aliases.is_empty());
    assert!(matches!(full.handler, Handler::Foreign) && full.is_foreign());
    assert_eq!(full.function, module_path!());
    assert!(full.file.ends_with("foreign_subscribers.rs") && full.line == 19);

    let plain = declared("shop.tasks.count");
    assert_eq!((plain.priority, plain.delay, plain.reconciled_by), (0, None, None));
    assert!(plain.freshness_only);
    assert_eq!(plain.place(), format!("the foreign task `shop.tasks.count` ({}:29)", plain.file));

    let registry = events_core::Registry::linked().expect("all is well");
    assert_eq!(registry.foreign_subscribers().count(), 6);
    assert_eq!(registry.local_subscribers().count(), 0);
    assert!(registry.subscriber("shop.tasks.count").is_none());
    assert_eq!(declared("by.a.macro").event.name, "shop.order_placed");
}
