-- The latest change of each device session that a copy of it must not outlive; see core's port DeviceChangeLog. Only
-- where several instances share a database: a SQLite file has one.
CREATE TABLE device_log (
    only_row BIGINT NOT NULL PRIMARY KEY CHECK (only_row = 1),
    head BIGINT NOT NULL,
    -- Changes up to this revision may be gone.
    floor BIGINT NOT NULL
);
INSERT INTO device_log (only_row, head, floor) VALUES (1, 0, 0);
CREATE TABLE device_changes (
    device_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL
);
CREATE INDEX device_changes_by_revision ON device_changes (revision);

-- Counts with the microseconds since 1970, but always up: a database that was restored does not give a number again
-- that a copy of before carries. Whoever counts holds the row until its commit, so that numbers become visible in their
-- order: who sees one sees every lower one.
CREATE FUNCTION note_device_change(device TEXT) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    this BIGINT;
BEGIN
    UPDATE device_log SET head = GREATEST(head + 1, CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT))
        WHERE only_row = 1 RETURNING head INTO this;
    INSERT INTO device_changes (device_id, revision) VALUES (device, this)
        ON CONFLICT (device_id) DO UPDATE SET revision = excluded.revision;
END
$$;
CREATE FUNCTION device_session_changed() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM note_device_change(OLD.id);
    RETURN NULL;
END
$$;
CREATE FUNCTION device_account_changed() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    -- One that went with its session is noted there, or need not be.
    IF EXISTS (SELECT 1 FROM device_sessions WHERE id = OLD.device_id) THEN
        PERFORM note_device_change(OLD.device_id);
    END IF;
    RETURN NULL;
END
$$;

-- All at the commit, after every other lock of the transaction: so two of them cannot wait for each other, and they take
-- turns for no longer than a commit. Writing down use touches neither column, and what had expired needs no note.
-- Accounts are added only together with a new name.
CREATE CONSTRAINT TRIGGER device_session_renamed AFTER UPDATE OF id ON device_sessions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.id IS DISTINCT FROM NEW.id)
    EXECUTE FUNCTION device_session_changed();
CREATE CONSTRAINT TRIGGER device_session_ended AFTER DELETE ON device_sessions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.expires_at > CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT))
    EXECUTE FUNCTION device_session_changed();
CREATE CONSTRAINT TRIGGER device_account_used AFTER UPDATE OF use_order ON device_accounts
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION device_account_changed();
CREATE CONSTRAINT TRIGGER device_account_left AFTER DELETE ON device_accounts
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION device_account_changed();
