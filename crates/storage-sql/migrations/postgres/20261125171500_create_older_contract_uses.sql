CREATE TABLE older_contract_uses (
    -- An address of apps, as the operator configured it.
    address TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    times BIGINT NOT NULL
);
