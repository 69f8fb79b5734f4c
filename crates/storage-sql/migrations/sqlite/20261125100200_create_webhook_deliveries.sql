CREATE TABLE webhook_deliveries (
    id TEXT NOT NULL PRIMARY KEY,
    -- Names an address of the configuration; the address may hold a secret and is not here.
    endpoint TEXT NOT NULL,
    message TEXT NOT NULL,
    body TEXT NOT NULL,
    account_id TEXT REFERENCES accounts (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    -- While it is being sent: when somebody else may send it.
    due_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL
) STRICT;
