-- One row per waiting or running task. Small and hot: a completed task is deleted.
CREATE TABLE events_tasks (
    -- The order of publishing. Never used again, so that an old receipt cannot name a new task.
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id      BLOB    NOT NULL,
    event_id     BLOB    NOT NULL,
    event        TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    queue        TEXT    NOT NULL,
    priority     INTEGER NOT NULL,
    -- All times are microseconds since the Unix epoch.
    due_at       INTEGER NOT NULL,
    published_at INTEGER NOT NULL,
    -- Grows with every claim; a release gives it back.
    attempt      INTEGER NOT NULL DEFAULT 0,
    -- Grows with every claim and never shrinks: with `seq` it names one claim.
    fence        INTEGER NOT NULL DEFAULT 0,
    -- The worker that runs the task; NULL while it waits.
    leased_by    BLOB,
    payload      TEXT    NOT NULL,
    headers      TEXT,
    -- A JSON array with every attempt that went wrong.
    errors       TEXT
) STRICT;

-- A claim reads the head of a lane here, however long the lane is. `seq`, the row id, ends it.
-- `leased_by` is always NULL in it; as a column it lets counts read the index alone.
CREATE INDEX events_tasks_waiting ON events_tasks (leased_by, queue, priority, due_at)
    WHERE leased_by IS NULL;

-- A rescue finds the tasks of a dead worker here.
CREATE INDEX events_tasks_running ON events_tasks (leased_by)
    WHERE leased_by IS NOT NULL;

-- One row per live worker.
CREATE TABLE events_workers (
    id           BLOB    PRIMARY KEY,
    started_at   INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL,
    -- Grows with every heartbeat: whether it changed is read here, not from a clock.
    beats        INTEGER NOT NULL,
    -- How long it may be silent, in microseconds, by its own settings.
    lease        INTEGER NOT NULL,
    -- Which it serves, as JSON.
    queues       TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- Tasks that are not tried again unless an operator says so.
CREATE TABLE events_dead_letters (
    task_id      BLOB    PRIMARY KEY,
    event_id     BLOB    NOT NULL,
    event        TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    queue        TEXT    NOT NULL,
    priority     INTEGER NOT NULL,
    published_at INTEGER NOT NULL,
    died_at      INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    payload      TEXT    NOT NULL,
    headers      TEXT,
    errors       TEXT    NOT NULL
) STRICT;

CREATE INDEX events_dead_letters_newest ON events_dead_letters (died_at, task_id);

-- Completed tasks, while `retain_completed` keeps them.
CREATE TABLE events_archive (
    seq          INTEGER PRIMARY KEY,
    task_id      BLOB    NOT NULL,
    event_id     BLOB    NOT NULL,
    event        TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    queue        TEXT    NOT NULL,
    published_at INTEGER NOT NULL,
    completed_at INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    payload      TEXT    NOT NULL,
    headers      TEXT,
    errors       TEXT
) STRICT;

CREATE INDEX events_archive_oldest ON events_archive (completed_at);
