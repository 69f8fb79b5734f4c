-- For counting and paging by key-encryption key, at every start and in a rotation, without sorting all of them.
CREATE INDEX data_keys_by_kek ON data_keys (kek_id, account_id);
