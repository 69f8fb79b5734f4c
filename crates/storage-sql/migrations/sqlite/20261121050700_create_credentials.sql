CREATE TABLE credentials (
    connection_id TEXT NOT NULL PRIMARY KEY,
    account_id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    issuer TEXT NOT NULL,
    audience TEXT NOT NULL,
    subject TEXT NOT NULL,
    client_kid TEXT,
    refresh_class TEXT NOT NULL,

    -- ok, refreshing (lease_until and intent_at), unknown (intent_at) or needs_reauth (reason).
    state TEXT NOT NULL,
    reason TEXT,
    lease_until INTEGER,
    intent_at INTEGER,

    -- The state before the latest intent: whoever takes over after a crash knows what it interrupted.
    before_state TEXT,
    before_lease_until INTEGER,
    before_intent_at INTEGER,

    -- Counts the intents; a holder of an older number has lost its lease.
    fence INTEGER NOT NULL DEFAULT 0,

    -- For the refresh engine: which instance holds the lease, how often it tried, when it may again, when it should.
    lease_owner TEXT,
    attempts INTEGER,
    not_before INTEGER,
    due_at INTEGER,

    dpop_key BLOB NOT NULL,
    granted_generation INTEGER NOT NULL,
    granted_at INTEGER NOT NULL,

    access_token BLOB NOT NULL,
    refresh_token BLOB,
    issued_at INTEGER NOT NULL,
    access_expires_at INTEGER NOT NULL,
    scope TEXT NOT NULL,

    FOREIGN KEY (connection_id, account_id) REFERENCES connections (id, account_id) ON DELETE CASCADE
) STRICT;
