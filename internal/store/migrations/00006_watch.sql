-- +goose Up
-- What the server does about nodes whose agents are silent.
CREATE TABLE watch (
  node TEXT PRIMARY KEY REFERENCES node(id) ON DELETE CASCADE,
  silent INTEGER,                            -- since when the agent is silent; NULL while it is not
  mended INTEGER,                            -- when the node was last brought back by itself
  mending INTEGER NOT NULL DEFAULT 0         -- 1 from before the driver is asked until it has answered
) STRICT;

-- +goose Down
DROP TABLE watch;
