package store

import (
	"fmt"
	"time"

	"howdah.dev/howdah/api"
)

// Rehome makes a database that was copied at a time fit a home in which nothing
// runs: what ran is suspended, nodes have to be made and to join again, and work
// that was under way is given up. Permits of one-time tasks stay used, so that
// data that is not brought along is missed and not made anew.
func (t *Tx) Rehome(copied time.Time) error {
	for _, q := range []string{
		"UPDATE cluster SET suspended = 1 WHERE intent = 'run'",
		"UPDATE node SET facts = '', instance = '', intent = CASE WHEN intent IN ('run', 'drain') THEN 'stop' ELSE intent END",
		"DELETE FROM observed",
		"DELETE FROM token",
		"DELETE FROM task WHERE state IN ('todo', 'running')",
	} {
		if _, err := t.exec(q); err != nil {
			return fmt.Errorf("cannot settle the database: %w", err)
		}
	}
	_, err := t.exec("UPDATE operation SET state = 'abandoned', reason = 'the installation was restored from a backup', finished = ? WHERE state IN ('queued', 'running', 'failed')", t.now.UnixMilli())
	if err != nil {
		return fmt.Errorf("cannot settle the database: %w", err)
	}
	return t.Event(api.Event{Type: "installation.restored", Message: "restored as it was at " + copied.UTC().Format(time.RFC3339)})
}
