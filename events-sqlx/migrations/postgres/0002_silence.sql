-- When the worker beat, by the server's clock: `heartbeat_at` is by its own, and silences are compared
-- between workers.
ALTER TABLE {schema}.workers ADD COLUMN heard_at timestamptz NOT NULL DEFAULT clock_timestamp();
