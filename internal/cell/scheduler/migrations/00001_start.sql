-- +goose Up
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;

-- One row an object; nothing holds them all.
CREATE TABLE app (id TEXT PRIMARY KEY, doc TEXT NOT NULL) STRICT;

-- What an app was, newest kept longest; version is its timestamp.
CREATE TABLE version (
  app TEXT NOT NULL,
  version TEXT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (app, version)
) STRICT;

-- Groups that say more than the paths of their apps do.
CREATE TABLE grp (id TEXT PRIMARY KEY, doc TEXT NOT NULL) STRICT;

CREATE TABLE instance (id TEXT PRIMARY KEY, doc TEXT NOT NULL) STRICT;

CREATE TABLE deployment (id TEXT PRIMARY KEY, doc TEXT NOT NULL) STRICT;
