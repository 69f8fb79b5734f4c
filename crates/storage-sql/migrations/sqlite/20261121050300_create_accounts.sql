CREATE TABLE accounts (
    id TEXT NOT NULL PRIMARY KEY,
    did TEXT NOT NULL UNIQUE,
    handle TEXT NOT NULL,
    pds TEXT NOT NULL,
    display_name TEXT,
    avatar TEXT,
    created_at INTEGER NOT NULL,
    last_login_at INTEGER NOT NULL
) STRICT;
