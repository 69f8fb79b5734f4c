CREATE TABLE security_events (
    id TEXT NOT NULL PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    occurred_at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    device_name TEXT NOT NULL,
    by_device TEXT NOT NULL
) STRICT;
