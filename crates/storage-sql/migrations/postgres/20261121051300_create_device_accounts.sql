CREATE TABLE device_accounts (
    -- Moves along when a login gives the session a new name.
    device_id TEXT COLLATE "C" NOT NULL REFERENCES device_sessions (id) ON DELETE CASCADE ON UPDATE CASCADE,
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    added_at BIGINT NOT NULL,
    -- The highest on a device is its active account; so the place moves by itself when that one goes.
    use_order BIGINT NOT NULL,
    PRIMARY KEY (device_id, account_id)
);
