//! What the server promises, on real servers.

use private_postgres::Server;

#[test]
fn databases_are_separate() {
    let server = Server::shared();
    let (one, other) = (server.create_database(), server.create_database());
    server.psql(one.name(), "CREATE TABLE here ()").unwrap();
    assert!(server.psql(other.name(), "SELECT FROM here").is_err());
}
