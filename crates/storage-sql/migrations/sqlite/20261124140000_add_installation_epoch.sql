-- Counts up at each start and each minute: a database that is behind what an instance saw was restored.
ALTER TABLE installation ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
