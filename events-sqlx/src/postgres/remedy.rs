//! What to do about PostgreSQL's errors (its documentation, appendix A "Error Codes").

/// What to do, where the code tells.
pub(crate) fn remedy(code: &str) -> Option<&'static str> {
    Some(match code {
        "28000" | "28P01" => "the user or the password was refused; check the URL and pg_hba.conf",
        "3D000" => "the database does not exist; create it, or give another one in the URL",
        "42501" => {
            "this user may not do that; grant it the schema, or create the schema as its owner and let this user use it"
        }
        "42P01" | "3F000" => {
            "the events tables are not there; let the queue migrate them, or apply `PostgresQueue::migrations` with your own tool"
        }
        "53100" => "the server's disk is full; make room",
        "53200" => "the server is out of memory",
        "53300" => {
            "the server has no connection left; raise its max_connections, or lower the pools' or put pgbouncer in front"
        }
        "55P03" | "57014" => {
            "it took longer than it may; look in pg_stat_activity for who holds locks, and at the server's load"
        }
        "57P01" | "57P02" | "57P03" => "the server is shutting down or starting; it is tried again",
        "25006" => "the server is read-only, a standby perhaps; give the URL of the primary",
        "40001" | "40P01" => "it collided with another transaction; run the unit of work again",
        "26000" | "42P05" => {
            "a prepared statement was mixed up, as by pgbouncer in transaction mode; say `transaction_pooling(true)` in the options"
        }
        _ => return None,
    })
}
