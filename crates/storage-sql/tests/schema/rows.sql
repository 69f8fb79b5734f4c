-- What the first release wrote: its columns, in its schema. A is usable, B was being refreshed when its server died, C has an
-- answer that nobody heard, D needs its person. x'..' are bytes.
INSERT INTO installation (only_row, cluster_id, created_at) VALUES (1, '00112233445566778899aabbccddeeff', 1767225600000);
INSERT INTO accounts (id, did, handle, pds, display_name, avatar, created_at, last_login_at) VALUES
    ('00000000-0000-4000-8000-00000000000a', 'did:web:a.example.com', 'a.example.com', 'https://pds.example.com', 'A', NULL, 1767225600000, 1767225600000),
    ('00000000-0000-4000-8000-00000000000b', 'did:web:b.example.com', 'b.example.com', 'https://pds.example.com', NULL, NULL, 1767225600001, 1767225600001),
    ('00000000-0000-4000-8000-00000000000c', 'did:web:c.example.com', 'c.example.com', 'https://pds.example.com', NULL, NULL, 1767225600002, 1767225600002),
    ('00000000-0000-4000-8000-00000000000d', 'did:web:d.example.com', 'd.example.com', 'https://pds.example.com', NULL, NULL, 1767225600003, 1767225600003);
INSERT INTO connections (id, account_id, platform, subject, created_at) VALUES
    ('00000000-0000-4000-8000-0000000000a1', '00000000-0000-4000-8000-00000000000a', 'atproto', 'did:web:a.example.com', 1767225600000),
    ('00000000-0000-4000-8000-0000000000b1', '00000000-0000-4000-8000-00000000000b', 'atproto', 'did:web:b.example.com', 1767225600000),
    ('00000000-0000-4000-8000-0000000000c1', '00000000-0000-4000-8000-00000000000c', 'atproto', 'did:web:c.example.com', 1767225600000),
    ('00000000-0000-4000-8000-0000000000d1', '00000000-0000-4000-8000-00000000000d', 'atproto', 'did:web:d.example.com', 1767225600000);
INSERT INTO data_keys (account_id, kek_id, wrapped) VALUES ('00000000-0000-4000-8000-00000000000a', 'k0011223344', x'0102');
INSERT INTO credentials (connection_id, account_id, generation, issuer, audience, subject, client_kid, refresh_class, state, reason, lease_until, intent_at, before_state, fence, dpop_key, granted_generation, granted_at, access_token, refresh_token, issued_at, access_expires_at, scope) VALUES
    ('00000000-0000-4000-8000-0000000000a1', '00000000-0000-4000-8000-00000000000a', 3, 'https://i.example.com', 'https://pds.example.com', 'did:web:a.example.com', NULL, 'single_use', 'ok', NULL, NULL, NULL, NULL, 2, x'01', 1, 1767225600000, x'0a', x'0b', 1767225600000, 1767229200000, 'atproto'),
    ('00000000-0000-4000-8000-0000000000b1', '00000000-0000-4000-8000-00000000000b', 5, 'https://i.example.com', 'https://pds.example.com', 'did:web:b.example.com', 'key-1', 'single_use', 'refreshing', NULL, 1767225720000, 1767225600000, 'ok', 5, x'01', 1, 1767225600000, x'0a', x'0b', 1767222000000, 1767225600000, 'atproto'),
    ('00000000-0000-4000-8000-0000000000c1', '00000000-0000-4000-8000-00000000000c', 7, 'https://i.example.com', 'https://pds.example.com', 'did:web:c.example.com', NULL, 'single_use', 'unknown', NULL, NULL, 1767225600000, 'ok', 7, x'01', 1, 1767225600000, x'0a', x'0b', 1767222000000, 1767225600000, 'atproto'),
    ('00000000-0000-4000-8000-0000000000d1', '00000000-0000-4000-8000-00000000000d', 9, 'https://i.example.com', 'https://pds.example.com', 'did:web:d.example.com', NULL, 'single_use', 'needs_reauth', 'revoked', NULL, NULL, 'ok', 9, x'01', 1, 1767225600000, x'0a', x'0b', 1767222000000, 1767225600000, 'atproto')
