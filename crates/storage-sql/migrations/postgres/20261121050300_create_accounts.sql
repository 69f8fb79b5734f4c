CREATE TABLE accounts (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    did TEXT COLLATE "C" NOT NULL UNIQUE,
    handle TEXT NOT NULL,
    pds TEXT NOT NULL,
    display_name TEXT,
    avatar TEXT,
    created_at BIGINT NOT NULL,
    last_login_at BIGINT NOT NULL
);
