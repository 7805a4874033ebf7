-- +goose Up
-- Nothing has ever been written to it.
ALTER TABLE step DROP COLUMN out;

-- +goose Down
ALTER TABLE step ADD COLUMN out TEXT NOT NULL DEFAULT '';
