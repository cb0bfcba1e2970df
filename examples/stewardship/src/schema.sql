-- What the application knows. Portable SQL: SQLite and PostgreSQL both run it, once.

CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY
);

CREATE TABLE systems (
    id TEXT NOT NULL PRIMARY KEY
);

-- Who is a data steward of which system.
CREATE TABLE system_managers (
    user_id   TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    system_id TEXT NOT NULL REFERENCES systems (id) ON DELETE CASCADE,
    PRIMARY KEY (system_id, user_id)
);
CREATE INDEX system_managers_by_user ON system_managers (user_id);

CREATE TABLE connection_configs (
    id TEXT NOT NULL PRIMARY KEY
);

CREATE TABLE system_connection_config_links (
    system_id            TEXT NOT NULL REFERENCES systems (id) ON DELETE CASCADE,
    connection_config_id TEXT NOT NULL REFERENCES connection_configs (id) ON DELETE CASCADE,
    PRIMARY KEY (connection_config_id, system_id)
);
CREATE INDEX system_connection_config_links_by_system
    ON system_connection_config_links (system_id);

-- A monitor outlives its connection config, and then watches nothing.
CREATE TABLE monitor_configs (
    key                     TEXT    NOT NULL PRIMARY KEY,
    connection_config_id    TEXT    REFERENCES connection_configs (id) ON DELETE SET NULL,
    inherit_system_stewards BOOLEAN NOT NULL
);
CREATE INDEX monitor_configs_by_connection
    ON monitor_configs (connection_config_id);

-- Explicit rows are people's decisions. Inherited rows are derived: propagation owns them, and so
-- where one comes from is a note and not a reference. A system that is deleted takes along who
-- managed it; what monitors had inherited from it is for the reconciler to find.
CREATE TABLE monitor_stewards (
    user_id            TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    monitor_config_key TEXT NOT NULL REFERENCES monitor_configs (key) ON DELETE CASCADE,
    source             TEXT NOT NULL CHECK (source IN ('explicit', 'inherited')),
    source_system_id   TEXT,
    CHECK ((source = 'explicit') = (source_system_id IS NULL))
);
CREATE UNIQUE INDEX monitor_stewards_explicit
    ON monitor_stewards (monitor_config_key, user_id) WHERE source = 'explicit';
CREATE UNIQUE INDEX monitor_stewards_inherited
    ON monitor_stewards (monitor_config_key, source_system_id, user_id)
    WHERE source_system_id IS NOT NULL; -- and so the index alone answers which rows are inherited
CREATE INDEX monitor_stewards_by_user ON monitor_stewards (user_id);
CREATE INDEX monitor_stewards_by_source
    ON monitor_stewards (source_system_id, monitor_config_key);

-- What monitors have found, and how far each find has come.
CREATE TABLE staged_resources (
    urn                TEXT NOT NULL,
    monitor_config_key TEXT NOT NULL REFERENCES monitor_configs (key) ON DELETE CASCADE,
    status             TEXT NOT NULL CHECK (status IN
        ('addition', 'classified', 'reviewed', 'confirmed', 'promoted', 'muted')),
    PRIMARY KEY (monitor_config_key, urn)
);
CREATE INDEX staged_resources_by_status ON staged_resources (monitor_config_key, status);

-- The operations that monitors have completed.
CREATE TABLE monitor_operations (
    monitor_config_key  TEXT   NOT NULL REFERENCES monitor_configs (key) ON DELETE CASCADE,
    operation_type      TEXT   NOT NULL,
    completed_at_micros BIGINT NOT NULL
);
CREATE INDEX monitor_operations_by_monitor
    ON monitor_operations (monitor_config_key, completed_at_micros);

-- What is derived from the two, one row for each monitor that has completed something.
CREATE TABLE monitor_aggregate_statistics (
    monitor_config_key       TEXT   NOT NULL PRIMARY KEY
        REFERENCES monitor_configs (key) ON DELETE CASCADE,
    addition                 BIGINT NOT NULL,
    classified               BIGINT NOT NULL,
    reviewed                 BIGINT NOT NULL,
    confirmed                BIGINT NOT NULL,
    promoted                 BIGINT NOT NULL,
    muted                    BIGINT NOT NULL,
    operations               BIGINT NOT NULL,
    last_completed_at_micros BIGINT NOT NULL,
    computed_at_micros       BIGINT NOT NULL
);

-- The rule of inheritance, stated once: handlers and the reconciler both read it.
CREATE VIEW due_inherited_stewards AS
SELECT managers.user_id   AS user_id,
       monitors.key       AS monitor_config_key,
       managers.system_id AS source_system_id
FROM monitor_configs AS monitors
JOIN system_connection_config_links AS links
    ON links.connection_config_id = monitors.connection_config_id
JOIN system_managers AS managers
    ON managers.system_id = links.system_id
WHERE monitors.inherit_system_stewards;

-- What the statistics of monitors should be, stated once: the handler and the reconciler both read
-- it. Counted monitor by monitor, so that whoever asks for few pays for few.
CREATE VIEW due_statistics AS
SELECT monitors.key AS monitor_config_key,
       (SELECT count(*) FROM staged_resources AS staged
        WHERE staged.monitor_config_key = monitors.key AND status = 'addition') AS addition,
       (SELECT count(*) FROM staged_resources AS staged
        WHERE staged.monitor_config_key = monitors.key AND status = 'classified') AS classified,
       (SELECT count(*) FROM staged_resources AS staged
        WHERE staged.monitor_config_key = monitors.key AND status = 'reviewed') AS reviewed,
       (SELECT count(*) FROM staged_resources AS staged
        WHERE staged.monitor_config_key = monitors.key AND status = 'confirmed') AS confirmed,
       (SELECT count(*) FROM staged_resources AS staged
        WHERE staged.monitor_config_key = monitors.key AND status = 'promoted') AS promoted,
       (SELECT count(*) FROM staged_resources AS staged
        WHERE staged.monitor_config_key = monitors.key AND status = 'muted') AS muted,
       (SELECT count(*) FROM monitor_operations AS done
        WHERE done.monitor_config_key = monitors.key) AS operations,
       (SELECT max(completed_at_micros) FROM monitor_operations AS done
        WHERE done.monitor_config_key = monitors.key) AS last_completed_at_micros
FROM monitor_configs AS monitors
WHERE EXISTS (
    SELECT 1 FROM monitor_operations AS done WHERE done.monitor_config_key = monitors.key);

-- How far a replay has come; one row, written in the transaction of each line.
CREATE TABLE replay_progress (
    id          INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    lines       BIGINT  NOT NULL,
    bytes       BIGINT  NOT NULL,
    prefix_hash BIGINT  NOT NULL,
    refused     BIGINT  NOT NULL,
    events      BIGINT  NOT NULL,
    tasks       BIGINT  NOT NULL
);
