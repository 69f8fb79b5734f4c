CREATE INDEX incidents_by_connection ON incidents (connection_id) WHERE connection_id IS NOT NULL;
