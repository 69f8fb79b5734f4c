-- For counting the credentials of each client key, at every start, without sorting all of them.
CREATE INDEX credentials_by_client_key ON credentials (client_kid) WHERE state <> 'needs_reauth';
