CREATE TABLE data_keys (
    account_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    kek_id TEXT NOT NULL,
    wrapped BYTEA NOT NULL
);
