use crate::client::Client;

/// A database on a [`Server`](crate::Server), empty at first.
///
/// It is dropped with this value, along with whatever is still connected to it, if the server is
/// up then; otherwise it goes with the server.
#[derive(Debug)]
#[must_use = "the database is dropped with this value"]
pub struct Database {
    client: Client,
    name: String,
}

impl Database {
    pub(crate) fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Its name on the server.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where to connect, as a superuser: `postgresql://postgres@%2Ftmp%2F…:5432/name`, which sqlx
    /// and all that is made of libpq understand. It stays valid when the server is restarted.
    #[must_use]
    pub fn url(&self) -> String {
        self.client.url(&self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let _ = self.client.psql("postgres", &sql); // a server that is down takes it along
    }
}
