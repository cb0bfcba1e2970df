-- When reconcilers ran, for all processes together.
CREATE TABLE {schema}.reconcilers (
    name       text   PRIMARY KEY COLLATE "C",
    -- The last run that began; NULL if it never ran.
    started_at bigint,
    started_by uuid,
    next_at    bigint NOT NULL,
    -- The last run that came to its end, and how, as JSON.
    ended_at   bigint,
    result     text
);
