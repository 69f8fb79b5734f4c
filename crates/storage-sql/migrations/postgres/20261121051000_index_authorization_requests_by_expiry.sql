CREATE INDEX authorization_requests_by_expiry ON authorization_requests (expires_at);
