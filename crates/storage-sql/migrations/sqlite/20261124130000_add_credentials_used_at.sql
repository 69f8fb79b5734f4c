-- When a credential was last asked for. Those of before count as used when the grant began; due again at once.
ALTER TABLE credentials ADD COLUMN used_at INTEGER NOT NULL DEFAULT 0;
