-- When reconcilers ran, for all processes together.
CREATE TABLE events_reconcilers (
    name       TEXT    PRIMARY KEY,
    -- The last run that began; NULL if it never ran.
    started_at INTEGER,
    started_by BLOB,
    next_at    INTEGER NOT NULL,
    -- The last run that came to its end, and how, as JSON.
    ended_at   INTEGER,
    result     TEXT
) STRICT, WITHOUT ROWID;
