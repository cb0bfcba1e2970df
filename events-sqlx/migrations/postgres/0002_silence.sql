-- When the worker beat, by the server's clock: `heartbeat_at` is by its own, and silences are compared
-- between workers. NULL for workers of a release that does not write it.
ALTER TABLE {schema}.workers ADD COLUMN heard_at timestamptz;
