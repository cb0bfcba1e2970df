use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

#[reconciles(every = "hourly")]
async fn sweep(_scope: Scope) -> Result<Report, Failure> {
    Ok(Report::default())
}

#[subscribes_to(SystemChanged, reconciled_by = sweep)]
async fn on_change(_event: SystemChanged) {}

fn main() {}
