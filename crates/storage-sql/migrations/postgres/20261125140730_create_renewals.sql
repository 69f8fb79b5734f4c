CREATE TABLE renewals (
    -- Moves along when a login gives the session a new name.
    device_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES device_sessions (id) ON DELETE CASCADE ON UPDATE CASCADE,
    line BYTEA NOT NULL UNIQUE,
    -- The newest refresh string that was given out.
    place BIGINT NOT NULL
);
