use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

#[derive(Event)]
struct UserChanged {
    user_id: String,
}

struct Systems;

impl Systems {
    #[publishes(SystemChanged)]
    async fn change<S: Session>(&self, session: &mut S) -> Result<(), PublishError> {
        let event = UserChanged { user_id: "ada".into() };
        let mut publish = || publish_after_commit(session, event);
        publish()?;
        Ok(())
    }
}

fn main() {}
