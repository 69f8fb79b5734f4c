CREATE TABLE incidents (
    -- The connection, or a part of the installation.
    subject TEXT NOT NULL PRIMARY KEY,
    -- So that a credential takes its incident along.
    connection_id TEXT REFERENCES credentials (connection_id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    since INTEGER NOT NULL
) STRICT;
