CREATE INDEX device_sessions_by_expiry ON device_sessions (expires_at);
