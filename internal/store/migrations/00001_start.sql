-- +goose Up
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;

-- The files of every stack some cluster was made with.
CREATE TABLE stack (digest TEXT PRIMARY KEY, name TEXT NOT NULL, bundle BLOB NOT NULL) STRICT;

CREATE TABLE cluster (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  infrastructure TEXT NOT NULL,
  intent TEXT NOT NULL,                      -- run, stop, gone
  suspended INTEGER NOT NULL DEFAULT 0,      -- 1 between howdah down and howdah up
  revision INTEGER NOT NULL DEFAULT 0,       -- newest
  smoked INTEGER NOT NULL DEFAULT 0,         -- revision that passed the smoke test last
  created INTEGER NOT NULL
) STRICT;

CREATE TABLE revision (
  cluster TEXT NOT NULL REFERENCES cluster(id) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (cluster, number)
) STRICT;

-- Ordinals are never reused.
CREATE TABLE ordinal (
  cluster TEXT NOT NULL REFERENCES cluster(id) ON DELETE CASCADE,
  grp TEXT NOT NULL,
  next INTEGER NOT NULL,
  PRIMARY KEY (cluster, grp)
) STRICT;

CREATE TABLE node (
  id TEXT PRIMARY KEY,
  cluster TEXT NOT NULL REFERENCES cluster(id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  grp TEXT NOT NULL,
  ordinal INTEGER NOT NULL,
  intent TEXT NOT NULL,                      -- new, run, drain, stop, gone
  revision INTEGER NOT NULL,                 -- revision it is rendered with
  infrastructure TEXT NOT NULL,
  address TEXT NOT NULL,
  host TEXT NOT NULL,
  memory_mb INTEGER NOT NULL,
  cpus INTEGER NOT NULL,
  reason TEXT NOT NULL DEFAULT '',
  facts TEXT NOT NULL DEFAULT '',            -- what its agent said it is
  java TEXT NOT NULL DEFAULT '',             -- the Java chosen for it, kept while it is there
  generation INTEGER NOT NULL DEFAULT 0,
  rendered TEXT NOT NULL DEFAULT '',         -- digest of the assignment of that generation
  incarnation INTEGER NOT NULL DEFAULT 0,    -- starts of the agent
  instance TEXT NOT NULL DEFAULT '',         -- the agent process of that incarnation
  UNIQUE (cluster, name),
  UNIQUE (infrastructure, address)
) STRICT;

CREATE TABLE operation (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  cluster TEXT NOT NULL,                     -- id; the row outlives the cluster
  cluster_name TEXT NOT NULL,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL DEFAULT '',
  args TEXT NOT NULL DEFAULT '{}',
  planned INTEGER NOT NULL DEFAULT 0,        -- 1 once its steps are written
  created INTEGER NOT NULL,
  started INTEGER,
  finished INTEGER
) STRICT;
CREATE INDEX operation_open ON operation(state) WHERE state IN ('queued','running','failed');

CREATE TABLE step (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  operation INTEGER NOT NULL REFERENCES operation(id) ON DELETE CASCADE,
  kind TEXT NOT NULL,
  node TEXT NOT NULL DEFAULT '',             -- id of the node it is about
  title TEXT NOT NULL,
  phase TEXT NOT NULL,
  state TEXT NOT NULL,
  key TEXT NOT NULL,                         -- idempotency key, the same at every try
  args TEXT NOT NULL DEFAULT '{}',
  out TEXT NOT NULL DEFAULT '',
  waiting TEXT NOT NULL DEFAULT '',
  until INTEGER,
  not_before INTEGER,
  error TEXT NOT NULL DEFAULT '',
  tries INTEGER NOT NULL DEFAULT 0,
  started INTEGER,
  finished INTEGER
) STRICT;
CREATE INDEX step_operation ON step(operation);

CREATE TABLE step_dep (
  step INTEGER NOT NULL REFERENCES step(id) ON DELETE CASCADE,
  after INTEGER NOT NULL REFERENCES step(id) ON DELETE CASCADE,
  PRIMARY KEY (step, after)
) STRICT, WITHOUT ROWID;

-- Cluster-wide one-time tasks: the permit, and that it has been used.
CREATE TABLE once (
  cluster TEXT NOT NULL REFERENCES cluster(id) ON DELETE CASCADE,
  task TEXT NOT NULL,
  node TEXT NOT NULL,                        -- who holds the permit, or did it
  state TEXT NOT NULL,                       -- running, done
  at INTEGER NOT NULL,
  PRIMARY KEY (cluster, task)
) STRICT;

CREATE TABLE observed (
  node TEXT PRIMARY KEY REFERENCES node(id) ON DELETE CASCADE,
  incarnation INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  doc TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;

CREATE TABLE task (
  id TEXT PRIMARY KEY,
  cluster TEXT NOT NULL REFERENCES cluster(id) ON DELETE CASCADE,
  node TEXT NOT NULL REFERENCES node(id) ON DELETE CASCADE,
  kind TEXT NOT NULL,                        -- smoke, or the workload's kind
  name TEXT NOT NULL,
  doc TEXT NOT NULL,
  state TEXT NOT NULL,
  status TEXT NOT NULL DEFAULT '{}',
  created INTEGER NOT NULL
) STRICT;
CREATE INDEX task_node ON task(node);

CREATE TABLE token (
  hash TEXT PRIMARY KEY,
  node TEXT NOT NULL REFERENCES node(id) ON DELETE CASCADE,
  expires INTEGER NOT NULL
) STRICT;

CREATE TABLE event (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  type TEXT NOT NULL,
  cluster TEXT NOT NULL DEFAULT '',
  node TEXT NOT NULL DEFAULT '',
  service TEXT NOT NULL DEFAULT '',
  operation INTEGER NOT NULL DEFAULT 0,
  message TEXT NOT NULL,
  data TEXT NOT NULL DEFAULT ''
) STRICT;

-- +goose Down
DROP TABLE event; DROP TABLE token; DROP TABLE task; DROP TABLE observed; DROP TABLE once;
DROP TABLE step_dep; DROP TABLE step; DROP TABLE operation; DROP TABLE node; DROP TABLE ordinal;
DROP TABLE revision; DROP TABLE cluster; DROP TABLE stack; DROP TABLE meta;
