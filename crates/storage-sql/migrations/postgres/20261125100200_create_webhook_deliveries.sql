CREATE TABLE webhook_deliveries (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- Names an address of the configuration; the address may hold a secret and is not here.
    endpoint TEXT COLLATE "C" NOT NULL,
    message TEXT NOT NULL,
    body TEXT NOT NULL,
    account_id TEXT COLLATE "C" REFERENCES accounts (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    -- While it is being sent: when somebody else may send it.
    due_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL
);
