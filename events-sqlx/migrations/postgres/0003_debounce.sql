-- Tasks that wait until their key is quiet, one for each name and key: a newer event takes the place
-- of the one that waits. When the time has come they move to the tasks.
CREATE TABLE {schema}.debounced (
    name         text     NOT NULL COLLATE "C",
    -- The value of the event's field, as JSON.
    key          text     NOT NULL COLLATE "C",
    task_id      uuid     NOT NULL,
    event_id     uuid     NOT NULL,
    event        text     NOT NULL,
    queue        text     NOT NULL COLLATE "C",
    priority     smallint NOT NULL,
    due_at       bigint   NOT NULL,
    -- However busy the key is: that of the first event that waited.
    not_after    bigint   NOT NULL,
    published_at bigint   NOT NULL,
    payload      text     NOT NULL,
    headers      text,
    PRIMARY KEY (name, key)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = false
);

CREATE INDEX debounced_due ON {schema}.debounced (due_at);

-- Which key the task waited for. One that waits to be tried again goes when a newer one of its key
-- comes.
ALTER TABLE {schema}.tasks ADD COLUMN debounce_key text COLLATE "C";

CREATE INDEX tasks_debounced ON {schema}.tasks (name, debounce_key)
    WHERE debounce_key IS NOT NULL AND leased_by IS NULL;
