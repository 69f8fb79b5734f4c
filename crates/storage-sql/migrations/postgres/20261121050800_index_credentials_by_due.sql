CREATE INDEX credentials_by_due ON credentials (due_at) WHERE due_at IS NOT NULL;
