use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

#[publishes(SystemChanged)]
fn change(session: &mut impl Session) -> Result<(), PublishError> {
    helper(session, SystemChanged { system_id: "crm".into() })
}

fn helper(session: &mut impl Session, event: SystemChanged) -> Result<(), PublishError> {
    publish_after_commit(session, event)?;
    Ok(())
}

fn main() {}
