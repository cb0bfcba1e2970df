//! The statements, with the schema in them.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::{
    admin, claim, debounce, health, heartbeat, insert, lanes, moving, outbox, reconcilers, rescue,
    settle,
};
use crate::error::QueueError;

/// The queue's tables: their schema, and the statements on them. Clones share them.
#[derive(Debug, Clone)]
pub struct Tables {
    statements: Arc<Statements>,
    /// Whether [`insert::PREPARE`] was run on every connection that sessions run on.
    prepared: bool,
}

macro_rules! statements {
    ($($name:ident: $sql:expr),* $(,)?) => {
        /// Every statement on the queue's tables, written once per queue.
        #[derive(Debug)]
        pub(super) struct Statements {
            pub(super) schema: String,
            $(pub(super) $name: SqlStr,)*
        }

        impl Statements {
            fn of(schema: &str) -> Self {
                Self { schema: schema.to_owned(), $($name: in_schema($sql, schema).into_sql_str(),)* }
            }
        }
    };
}

statements! {
    acquire_outbox: outbox::ACQUIRE,
    announce_reconciler: reconcilers::ANNOUNCE,
    beat: heartbeat::BEAT,
    begin_run: reconcilers::BEGIN_RUN,
    bury: settle::BURY,
    claim_from_many: claim::CLAIM_FROM_MANY,
    claim_from_one: claim::CLAIM_FROM_ONE,
    complete: settle::COMPLETE,
    complete_and_keep: settle::COMPLETE_AND_KEEP,
    complete_one: settle::COMPLETE_ONE,
    counts: admin::COUNTS,
    dead_letter: admin::DEAD_LETTER,
    dead_letter_queue: admin::QUEUE_OF_DEAD_LETTER,
    dead_letters: admin::DEAD_LETTERS,
    debounced_queues: moving::DEBOUNCED_QUEUES,
    debounced_waiting: health::DEBOUNCED,
    delete_sent: outbox::DELETE,
    deregister: heartbeat::DEREGISTER,
    discard: admin::DISCARD_DEAD_LETTER,
    forget_worker: rescue::FORGET_WORKER,
    gone: rescue::GONE,
    held: health::HELD,
    end_run: reconcilers::END_RUN,
    execute_insert: insert::EXECUTE,
    insert: insert::INSERT,
    insert_debounced: debounce::INSERT,
    insert_forwarded: outbox::INSERT_ONE,
    insert_outbox: outbox::INSERT,
    move_waiting: moving::MOVE,
    next: lanes::NEXT,
    offer_again: rescue::OFFER_AGAIN,
    outbox_backlog: outbox::BACKLOG,
    outbox_backlogs: outbox::BACKLOGS,
    outbox_holder: outbox::HOLDER,
    outboxes_relayed: outbox::RELAYED,
    orphans: rescue::ORPHANS,
    prepare_insert: insert::PREPARE,
    prune: admin::PRUNE,
    read_outbox: outbox::READ,
    reconcilers: reconcilers::RECONCILERS,
    register: heartbeat::REGISTER,
    registered: health::REGISTERED,
    release: settle::RELEASE,
    release_claims: claim::RELEASE_CLAIMS,
    release_debounced: debounce::RELEASE,
    release_outbox: outbox::RELEASE,
    renew_outbox: outbox::RENEW,
    retry: settle::RETRY,
    retry_dead_letter: admin::RETRY_DEAD_LETTER,
    scan: lanes::SCAN,
    settle_outbox: outbox::SETTLE,
    settleable: settle::SETTLEABLE,
    storage: health::STORAGE,
    unsettled: settle::UNSETTLED,
    workers: heartbeat::WORKERS,
}

/// The statement, for this schema. Its name was checked to be a plain identifier.
pub(super) fn in_schema(sql: &str, schema: &str) -> AssertSqlSafe<String> {
    let sql = sql.replace("{schema}_insert", &format!("\"{schema}_insert\""));
    AssertSqlSafe(sql.replace("{schema}", &format!("\"{schema}\"")))
}

/// PostgreSQL cuts names to 63 bytes; a channel's is the schema's with a suffix.
const LONGEST_NAME: usize = 48;

impl Tables {
    /// # Errors
    /// `schema` is not a plain identifier.
    pub(super) fn of(schema: &str) -> Result<Self, QueueError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let starts_well = schema.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        if !starts_well || !schema.chars().all(plain) || schema.len() > LONGEST_NAME {
            return Err(QueueError::SchemaName { schema: schema.to_owned() });
        }
        if schema.starts_with("pg_") {
            return Err(QueueError::SchemaName { schema: schema.to_owned() });
        }
        Ok(Self { statements: Arc::new(Statements::of(schema)), prepared: false })
    }

    pub(super) fn prepared(self, prepared: bool) -> Self {
        Self { prepared, ..self }
    }

    pub(super) fn are_prepared(&self) -> bool {
        self.prepared
    }

    pub(super) fn statements(&self) -> &Statements {
        &self.statements
    }

    /// The channel on which workers are told to look.
    pub(super) fn channel(&self) -> String {
        format!("{}_wake", self.statements.schema)
    }
}

#[cfg(test)]
mod tests {
    use super::Tables;

    #[test]
    fn a_schema_has_a_plain_name() {
        for good in ["events", "_e", "shop_2_events"] {
            assert!(Tables::of(good).is_ok(), "{good}");
        }
        let long = "e".repeat(49);
        for bad in ["", "2events", "Events", "ev-ents", "ev ents", "pg_events", "ev\"; DROP", &long]
        {
            let error = Tables::of(bad).unwrap_err().to_string();
            assert!(error.contains("lower-case letters, digits and `_`"), "{error}");
        }
    }
}
