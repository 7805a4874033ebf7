package process

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"

	"howdah.dev/howdah/internal/tenant"
)

// maxRestrictions bounds the file, in bytes: some 100,000 revoked tokens.
const maxRestrictions = 4 << 20

// restrictions knows which tokens are good no longer, from a file that the node's
// agent replaces when the server says so. With the server away, and when the file
// cannot be read, what was read last holds.
type restrictions struct {
	path string

	mu   sync.Mutex
	seen os.FileInfo // of what was read
	now  tenant.Restrictions
}

// read reads the file where it is another than the one read last.
func (r *restrictions) read() error {
	if r.path == "" {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := os.Stat(r.path)
	if err != nil {
		return fmt.Errorf("cannot read which tokens are revoked: %w", err)
	}
	if r.seen != nil && os.SameFile(r.seen, info) && info.ModTime().Equal(r.seen.ModTime()) && info.Size() == r.seen.Size() {
		return nil
	}
	if info.Size() > maxRestrictions {
		return fmt.Errorf("cannot read which tokens are revoked: %s is larger than 4 MiB", r.path)
	}
	text, err := os.ReadFile(r.path)
	if err != nil {
		return fmt.Errorf("cannot read which tokens are revoked: %w", err)
	}
	var now tenant.Restrictions
	if err := json.Unmarshal(text, &now); err != nil {
		return fmt.Errorf("cannot read which tokens are revoked: %s: %w", r.path, err)
	}
	r.seen, r.now = info, now
	return nil
}

// refuse says why a token gives no access here; "" where it does.
func (r *restrictions) refuse(t tenant.Token) string {
	if _, node := tenant.NodeOfToken(t.ID); node { // it ends with its node, which the server alone knows
		return "it is one of a node, which is good at the server only"
	}
	_ = r.read() // what was read last holds
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now.Refuse(t)
}
