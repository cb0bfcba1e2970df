//! What to do about PostgreSQL's errors (its documentation, appendix A "Error Codes").

/// What to do, where the code tells.
pub(crate) fn remedy(code: &str) -> Option<&'static str> {
    Some(match code {
        "28000" | "28P01" => "the user or the password was refused; check the URL and pg_hba.conf",
        "3D000" => "the database does not exist; create it, or give another one in the URL",
        "42501" => {
            "this user may not do that; `GRANT CREATE ON DATABASE … TO` it once, or apply `PostgresQueue::migrations` as an owner, grant this user USAGE on the schema and SELECT, INSERT, UPDATE, DELETE on its tables, and open the queue with `migrate(false)`"
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
        "57P01" => {
            "the server is shutting down, or somebody ended this connection; run the unit of work again"
        }
        "57P02" | "57P03" => "the server is restarting; try again",
        "25P03" => {
            "the session was idle for longer than `idle_in_transaction_session_timeout`; do slow things before the transaction"
        }
        "08P01" => {
            "the server or its pooler refused the connection's parameters; in pgbouncer set ignore_startup_parameters = extra_float_digits, options"
        }
        "25006" => "the server is read-only, a standby perhaps; give the URL of the primary",
        "40001" | "40P01" => "it collided with another transaction; run the unit of work again",
        "26000" | "42P05" => {
            "a prepared statement was mixed up or forgotten; through pgbouncer in transaction mode open the queue with `transaction_pooling(true)` and set its `max_prepared_statements` above 0 (from 1.21 on); without one, look for `DISCARD ALL` and `DEALLOCATE ALL`"
        }
        _ => return None,
    })
}
