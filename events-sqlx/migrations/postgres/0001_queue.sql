-- One row per waiting or running task. Small and hot: a completed task is deleted.
CREATE TABLE {schema}.tasks (
    -- The order of publishing. Never used again, so that an old receipt cannot name a new task.
    -- No primary key: nobody looks for a task by this number alone, and each task would pay for the
    -- index twice, when it is written and when it is claimed.
    seq          bigint   GENERATED ALWAYS AS IDENTITY,
    task_id      uuid     NOT NULL,
    event_id     uuid     NOT NULL,
    -- All times are microseconds since the Unix epoch: to_timestamp(due_at / 1e6).
    due_at       bigint   NOT NULL,
    published_at bigint   NOT NULL,
    -- Names one claim, with seq. Drawn at random by who claims.
    fence        bigint   NOT NULL DEFAULT 0,
    -- The worker that runs the task; NULL while it waits.
    leased_by    uuid,
    -- Grows with every claim; a release gives it back.
    attempt      integer  NOT NULL DEFAULT 0,
    priority     smallint NOT NULL,
    queue        text     NOT NULL COLLATE "C",
    event        text     NOT NULL,
    name         text     NOT NULL,
    payload      text     NOT NULL,
    headers      text,
    -- A JSON array with every attempt that went wrong. As text: jsonb takes no NUL.
    errors       text
) WITH (
    -- Room for the row's second version, which a claim writes, beside the first.
    fillfactor = 70,
    -- The table is small or grows fast, so counts of rows decide, not shares of it; and what is
    -- dead stands in the way of every claim, so vacuum does not pause.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0,
    -- To give room back at the end of the table takes a lock that stops everybody.
    vacuum_truncate = false,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 50000
);

-- A claim reads the head of a lane here, however long the lane is.
CREATE INDEX tasks_waiting ON {schema}.tasks (queue, priority, due_at, seq)
    WHERE leased_by IS NULL;

-- Outcomes find their tasks here, and a rescue those of a dead worker.
CREATE INDEX tasks_running ON {schema}.tasks (leased_by, seq)
    WHERE leased_by IS NOT NULL;

-- Where somebody publishes all tables to logical replication, updates of a table without a primary
-- key are refused unless this is said. It costs nothing where `wal_level` is not `logical`.
ALTER TABLE {schema}.tasks REPLICA IDENTITY FULL;

-- One row per live worker.
CREATE TABLE {schema}.workers (
    id           uuid   PRIMARY KEY,
    started_at   bigint NOT NULL,
    heartbeat_at bigint NOT NULL,
    -- Grows with every heartbeat: whether it changed is read here, not from a clock.
    beats        bigint NOT NULL,
    -- How long it may be silent, in microseconds, by its own settings.
    lease        bigint NOT NULL,
    -- Which it serves, as JSON.
    queues       text   NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Tasks that are not tried again unless an operator says so.
CREATE TABLE {schema}.dead_letters (
    task_id      uuid     PRIMARY KEY,
    event_id     uuid     NOT NULL,
    event        text     NOT NULL,
    name         text     NOT NULL,
    queue        text     NOT NULL,
    priority     smallint NOT NULL,
    published_at bigint   NOT NULL,
    died_at      bigint   NOT NULL,
    attempt      integer  NOT NULL,
    payload      text     NOT NULL,
    headers      text,
    errors       text     NOT NULL
);

CREATE INDEX dead_letters_newest ON {schema}.dead_letters (died_at, task_id);

-- Completed tasks, while `retain_completed` keeps them.
CREATE TABLE {schema}.archive (
    seq          bigint  PRIMARY KEY,
    task_id      uuid    NOT NULL,
    event_id     uuid    NOT NULL,
    event        text    NOT NULL,
    name         text    NOT NULL,
    queue        text    NOT NULL,
    published_at bigint  NOT NULL,
    completed_at bigint  NOT NULL,
    attempt      integer NOT NULL,
    payload      text    NOT NULL,
    headers      text,
    errors       text
);

CREATE INDEX archive_oldest ON {schema}.archive (completed_at);
