use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

fn change(session: &mut impl Session) -> Result<(), PublishError> {
    publish_after_commit(session, SystemChanged { system_id: "crm".into() })?;
    Ok(())
}

fn main() {}
