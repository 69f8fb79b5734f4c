-- Grants of before the sweep: due at the end of their access token, for a sweep to find them.
UPDATE credentials SET due_at = access_expires_at, used_at = issued_at WHERE due_at IS NULL AND state <> 'needs_reauth';
