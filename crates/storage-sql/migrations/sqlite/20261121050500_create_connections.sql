CREATE TABLE connections (
    id TEXT NOT NULL PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    platform TEXT NOT NULL,
    subject TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (account_id, platform, subject),
    -- What credentials refer to, so that a credential and its connection never name two accounts.
    UNIQUE (id, account_id)
) STRICT;
