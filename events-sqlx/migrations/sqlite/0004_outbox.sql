-- Tasks that are to be sent elsewhere: one row for each commit and outbox, a few if it was large.
CREATE TABLE events_outbox (
    -- The order of commits. Never used again, so that a row is deleted only by who has read it.
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Which outbox: each has a relay, and a transport.
    outbox       TEXT    NOT NULL,
    -- How many tasks.
    tasks        INTEGER NOT NULL,
    -- When the first event was published.
    published_at INTEGER NOT NULL,
    -- The tasks, as a JSON array of arrays.
    body         TEXT    NOT NULL,
    -- How long that is. Not generated: SQLite would not read it from an index alone.
    bytes        INTEGER NOT NULL
) STRICT;

-- A relay finds here where a batch ends, and what waits is counted, without a look at the bodies.
CREATE INDEX events_outbox_rows ON events_outbox (outbox, id, tasks, published_at, bytes);

-- Which relay drains an outbox.
CREATE TABLE events_relays (
    outbox     TEXT    PRIMARY KEY,
    -- NULL when it was given back.
    relay      BLOB,
    -- Grows whenever a relay takes over: what the earlier one still writes is refused.
    token      INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
