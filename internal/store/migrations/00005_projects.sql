-- +goose Up
ALTER TABLE cluster ADD COLUMN project TEXT NOT NULL DEFAULT 'default';   -- that owns it
ALTER TABLE cluster ADD COLUMN ttl INTEGER NOT NULL DEFAULT 0;            -- its time to live in ms; 0 for ever
ALTER TABLE cluster ADD COLUMN expires INTEGER;                           -- when that ends
ALTER TABLE cluster ADD COLUMN expiry INTEGER NOT NULL DEFAULT 0;         -- what has been done about its end

-- They outlive the cluster, whose name may then be another project's.
ALTER TABLE operation ADD COLUMN project TEXT NOT NULL DEFAULT 'default';
ALTER TABLE operation ADD COLUMN asked_by TEXT NOT NULL DEFAULT '';
ALTER TABLE operation ADD COLUMN cause TEXT NOT NULL DEFAULT '';
ALTER TABLE event ADD COLUMN project TEXT NOT NULL DEFAULT 'default';

ALTER TABLE step ADD COLUMN optional INTEGER NOT NULL DEFAULT 0;          -- 1 where its failure is none of the operation's

-- What a project may have; no row and 0 mean no bound.
CREATE TABLE quota (
  project TEXT PRIMARY KEY,
  nodes INTEGER NOT NULL DEFAULT 0,
  cpus INTEGER NOT NULL DEFAULT 0,
  memory_mb INTEGER NOT NULL DEFAULT 0
) STRICT;

-- +goose Down
DROP TABLE quota;
ALTER TABLE step DROP COLUMN optional;
ALTER TABLE event DROP COLUMN project;
ALTER TABLE operation DROP COLUMN cause;
ALTER TABLE operation DROP COLUMN asked_by;
ALTER TABLE operation DROP COLUMN project;
ALTER TABLE cluster DROP COLUMN expiry;
ALTER TABLE cluster DROP COLUMN expires;
ALTER TABLE cluster DROP COLUMN ttl;
ALTER TABLE cluster DROP COLUMN project;
