CREATE TABLE incidents (
    -- The connection, or a part of the installation.
    subject TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- So that a credential takes its incident along.
    connection_id TEXT COLLATE "C" REFERENCES credentials (connection_id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    since BIGINT NOT NULL
);
