CREATE TABLE credentials (
    connection_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account_id TEXT COLLATE "C" NOT NULL,
    generation BIGINT NOT NULL,
    issuer TEXT NOT NULL,
    audience TEXT NOT NULL,
    subject TEXT NOT NULL,
    client_kid TEXT,
    refresh_class TEXT NOT NULL,

    -- ok, refreshing (lease_until and intent_at), unknown (intent_at) or needs_reauth (reason).
    state TEXT NOT NULL,
    reason TEXT,
    lease_until BIGINT,
    intent_at BIGINT,

    -- The state before the latest intent: whoever takes over after a crash knows what it interrupted.
    before_state TEXT,
    before_lease_until BIGINT,
    before_intent_at BIGINT,

    -- Counts the intents; a holder of an older number has lost its lease.
    fence BIGINT NOT NULL DEFAULT 0,

    -- For the refresh engine: which instance holds the lease, how often it tried, when it may again, when it should.
    lease_owner TEXT,
    attempts BIGINT,
    not_before BIGINT,
    due_at BIGINT,

    dpop_key BYTEA NOT NULL,
    granted_generation BIGINT NOT NULL,
    granted_at BIGINT NOT NULL,

    access_token BYTEA NOT NULL,
    refresh_token BYTEA,
    issued_at BIGINT NOT NULL,
    access_expires_at BIGINT NOT NULL,
    scope TEXT NOT NULL,

    FOREIGN KEY (connection_id, account_id) REFERENCES connections (id, account_id) ON DELETE CASCADE
);
