DROP INDEX credentials_by_due;
CREATE INDEX credentials_by_due ON credentials (due_at, connection_id) WHERE due_at IS NOT NULL;
