-- Tasks that are to be sent elsewhere: one row for each commit and outbox, a few if it was large.
CREATE TABLE {schema}.outbox (
    -- Ascends in the order of writing: of two commits of which one began when the other was done,
    -- and so of one session, the order is that of the numbers.
    id           bigint  GENERATED ALWAYS AS IDENTITY,
    -- Which outbox: each has a relay, and a transport.
    outbox       text    NOT NULL COLLATE "C",
    -- How many tasks.
    tasks        integer NOT NULL,
    -- When the first event was published.
    published_at bigint  NOT NULL,
    -- The tasks, as a JSON array of arrays.
    body         text    NOT NULL,
    -- How long that is.
    bytes        integer NOT NULL GENERATED ALWAYS AS (octet_length(body)) STORED,
    -- A relay finds here where a batch ends, and what waits is counted, without a look at the rows.
    PRIMARY KEY (outbox, id) INCLUDE (tasks, published_at, bytes)
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = false,
    toast.autovacuum_vacuum_scale_factor = 0,
    toast.autovacuum_vacuum_threshold = 5000,
    toast.autovacuum_vacuum_cost_delay = 0
);

-- Which relay drains an outbox.
CREATE TABLE {schema}.relays (
    outbox     text   PRIMARY KEY COLLATE "C",
    -- NULL when it was given back.
    relay      uuid,
    -- Grows whenever a relay takes over: what the earlier one still writes is refused.
    token      bigint NOT NULL,
    expires_at bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
