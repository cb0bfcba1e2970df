-- Tasks that wait until their key is quiet, one for each name and key: a newer event takes the place
-- of the one that waits. When the time has come they move to the tasks.
CREATE TABLE events_debounced (
    name         TEXT    NOT NULL,
    -- The value of the event's field, as JSON.
    key          TEXT    NOT NULL,
    task_id      BLOB    NOT NULL,
    event_id     BLOB    NOT NULL,
    event        TEXT    NOT NULL,
    queue        TEXT    NOT NULL,
    priority     INTEGER NOT NULL,
    due_at       INTEGER NOT NULL,
    -- However busy the key is: that of the first event that waited.
    not_after    INTEGER NOT NULL,
    published_at INTEGER NOT NULL,
    payload      TEXT    NOT NULL,
    headers      TEXT,
    PRIMARY KEY (name, key)
) STRICT;

CREATE INDEX events_debounced_due ON events_debounced (due_at);

-- Which key the task waited for. One that waits to be tried again goes when a newer one of its key
-- comes.
ALTER TABLE events_tasks ADD COLUMN debounce_key TEXT;

CREATE INDEX events_tasks_debounced ON events_tasks (name, debounce_key)
    WHERE debounce_key IS NOT NULL AND leased_by IS NULL;
