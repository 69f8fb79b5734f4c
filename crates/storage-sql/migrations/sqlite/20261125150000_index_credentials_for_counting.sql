-- For counting by state, reason, age and client key, once a minute where somebody watches, and for finding what needs its
-- person: from the index alone, in its order, without reading or sorting the rows.
CREATE INDEX credentials_for_counting ON credentials (state, reason, client_kid, issued_at);
DROP INDEX credentials_by_client_key;
