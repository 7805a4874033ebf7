-- +goose Up
-- The certificate each node showed last: who depends on which authority.
CREATE TABLE node_certificate (
  node TEXT PRIMARY KEY REFERENCES node(id) ON DELETE CASCADE,
  authority TEXT NOT NULL,                   -- id of the one that signed it
  serial TEXT NOT NULL,
  expires INTEGER NOT NULL,
  seen INTEGER NOT NULL                      -- when it was shown first
) STRICT;

-- Tokens for people and programs, without their texts.
CREATE TABLE access_token (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  project TEXT NOT NULL,
  role TEXT NOT NULL,
  created_by TEXT NOT NULL,
  issued INTEGER NOT NULL,
  expires INTEGER,                           -- NULL: never
  revoked INTEGER
) STRICT;

-- Who did what. Rows are added and, beyond the newest 100,000, removed; else nothing
-- changes them.
CREATE TABLE audit (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  who TEXT NOT NULL,                         -- id of the token, owner, node NAME; '' for nobody
  name TEXT NOT NULL,                        -- of the token
  project TEXT NOT NULL,
  role TEXT NOT NULL,
  origin TEXT NOT NULL,                      -- address, or the process at the socket's other end
  what TEXT NOT NULL,                        -- operation of the API
  object TEXT NOT NULL,                      -- path
  status INTEGER NOT NULL,                   -- of HTTP
  detail TEXT NOT NULL
) STRICT;
CREATE INDEX audit_at ON audit(at);

-- +goose StatementBegin
CREATE TRIGGER audit_keeps_rows BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit record is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_keeps_newest BEFORE DELETE ON audit
WHEN OLD.id > (SELECT max(id) FROM audit) - 100000
BEGIN SELECT RAISE(ABORT, 'the audit record is append-only; its newest 100000 rows stay'); END;
-- +goose StatementEnd

-- +goose Down
DROP TABLE audit; DROP TABLE access_token; DROP TABLE node_certificate;
