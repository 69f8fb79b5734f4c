CREATE TABLE handoffs (
    -- SHA-256 of the code.
    code_hash BLOB NOT NULL PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    -- The app's present session, if it has one. It may be gone, or have another name, by the time of the exchange.
    device_id TEXT,
    device_name TEXT NOT NULL,
    -- Empty: the app sent none, and must send no verifier.
    challenge TEXT NOT NULL,
    -- Verifiers that did not fit.
    wrong INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
