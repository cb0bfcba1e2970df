use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

#[derive(Event)]
struct UserChanged {
    user_id: String,
}

#[publishes(SystemChanged)]
fn change(session: &mut impl Session) -> Result<(), PublishError> {
    publish_after_commit(session, SystemChanged { system_id: "crm".into() })?;
    publish_after_commit(session, UserChanged { user_id: "ada".into() })?;
    Ok(())
}

fn main() {}
