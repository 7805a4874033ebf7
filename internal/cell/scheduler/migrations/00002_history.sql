-- +goose Up
-- What apps and groups were, newest kept longest; version is its timestamp. No
-- document: the object was removed.
CREATE TABLE history (
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  version TEXT NOT NULL,
  doc TEXT,
  PRIMARY KEY (kind, id, version)
) STRICT;
CREATE INDEX history_version ON history (version);

-- Objects that are gone and may be brought back.
CREATE TABLE removed (
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  version TEXT NOT NULL,
  PRIMARY KEY (kind, id)
) STRICT;
CREATE INDEX removed_version ON removed (version);

INSERT INTO history SELECT 'app', app, version, doc FROM version;
INSERT INTO history SELECT 'group', id, json_extract(doc, '$.version'), doc FROM grp;
DROP TABLE version;
