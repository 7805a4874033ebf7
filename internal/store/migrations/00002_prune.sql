-- +goose Up
-- Rows that go take those that refer to them along: these find them.
CREATE INDEX step_dep_after ON step_dep(after);
CREATE INDEX operation_cluster ON operation(cluster, id);

-- +goose Down
DROP INDEX step_dep_after; DROP INDEX operation_cluster;
