CREATE TABLE installation (
    only_row BIGINT NOT NULL PRIMARY KEY CHECK (only_row = 1),
    cluster_id TEXT NOT NULL,
    -- By the database's clock, for people.
    created_at BIGINT NOT NULL
);
