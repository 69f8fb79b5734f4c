CREATE TABLE handoffs (
    -- SHA-256 of the code.
    code_hash BYTEA NOT NULL PRIMARY KEY,
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    -- The app's present session, if it has one. It may be gone, or have another name, by the time of the exchange.
    device_id TEXT COLLATE "C",
    device_name TEXT NOT NULL,
    -- Empty: the app sent none, and must send no verifier.
    challenge TEXT COLLATE "C" NOT NULL,
    -- Verifiers that did not fit.
    wrong BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
