CREATE TABLE older_contract_uses (
    -- An address of apps, as the operator configured it.
    address TEXT NOT NULL PRIMARY KEY,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    times INTEGER NOT NULL
) STRICT;
