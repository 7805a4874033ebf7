package store

import (
	"database/sql"
	"fmt"
	"time"
)

// NodeCertificate is the certificate a node showed last.
type NodeCertificate struct {
	Node, Authority, Serial string
	Expires                 time.Time
	Seen                    time.Time // when it was shown first
}

// PutNodeCertificate keeps which certificate a node shows.
func (t *Tx) PutNodeCertificate(c NodeCertificate) error {
	_, err := t.exec(`INSERT INTO node_certificate(node, authority, serial, expires, seen) SELECT ?,?,?,?,? WHERE EXISTS (SELECT 1 FROM node WHERE id = ?)
		ON CONFLICT(node) DO UPDATE SET authority = excluded.authority, serial = excluded.serial, expires = excluded.expires, seen = excluded.seen`,
		c.Node, c.Authority, c.Serial, c.Expires.UnixMilli(), t.now.UnixMilli(), c.Node)
	if err != nil {
		return fmt.Errorf("cannot write certificate of node %s: %w", c.Node, err)
	}
	return nil
}

// NodeCertificates returns the certificates nodes showed last, by node id.
func (t *Tx) NodeCertificates() (map[string]NodeCertificate, error) {
	cs, err := rows(t, func(scan func(...any) error) (NodeCertificate, error) {
		var c NodeCertificate
		var expires, seen int64
		err := scan(&c.Node, &c.Authority, &c.Serial, &expires, &seen)
		c.Expires, c.Seen = time.UnixMilli(expires), time.UnixMilli(seen)
		return c, err
	}, "SELECT node, authority, serial, expires, seen FROM node_certificate")
	out := make(map[string]NodeCertificate, len(cs))
	for _, c := range cs {
		out[c.Node] = c
	}
	return out, err
}

// TopicTokens is touched when tokens are revoked.
const TopicTokens = "tokens"

// AccessToken is what is kept of a token: everything but its text.
type AccessToken struct {
	ID, Name, Project, Role string
	CreatedBy               string
	Issued                  time.Time
	Expires                 *time.Time // nil: never
	Revoked                 *time.Time // nil: it was not
}

// PutAccessToken keeps a new token.
func (t *Tx) PutAccessToken(k AccessToken) error {
	_, err := t.exec("INSERT INTO access_token(id, name, project, role, created_by, issued, expires) VALUES(?,?,?,?,?,?,?)",
		k.ID, k.Name, k.Project, k.Role, k.CreatedBy, k.Issued.UnixMilli(), millis(k.Expires))
	if err != nil {
		return fmt.Errorf("cannot write token: %w", err)
	}
	return nil
}

// AccessTokens returns what is kept of tokens, newest first.
func (t *Tx) AccessTokens() ([]AccessToken, error) {
	return rows(t, func(scan func(...any) error) (AccessToken, error) {
		var k AccessToken
		var issued int64
		var expires, revoked sql.NullInt64
		err := scan(&k.ID, &k.Name, &k.Project, &k.Role, &k.CreatedBy, &issued, &expires, &revoked)
		k.Issued, k.Expires, k.Revoked = time.UnixMilli(issued), fromMillis(expires), fromMillis(revoked)
		return k, err
	}, "SELECT id, name, project, role, created_by, issued, expires, revoked FROM access_token ORDER BY issued DESC, id")
}

// RevokeAccessToken takes a token back; one that was taken back stays so.
func (t *Tx) RevokeAccessToken(id string) error {
	t.Touch(TopicTokens)
	return t.must("token "+id, "UPDATE access_token SET revoked = coalesce(revoked, ?) WHERE id = ?", t.now.UnixMilli(), id)
}

// AuditKept is how many rows of the audit record are kept at least; the schema says
// the same.
const AuditKept = 100_000

// Audit is one row of the audit record.
type Audit struct {
	ID                       int64
	At                       time.Time
	Who, Name, Project, Role string
	Origin, What, Object     string
	Status                   int
	Detail                   string
}

// PutAudit adds a row.
func (t *Tx) PutAudit(a Audit) error {
	_, err := t.exec("INSERT INTO audit(at, who, name, project, role, origin, what, object, status, detail) VALUES(?,?,?,?,?,?,?,?,?,?)",
		t.now.UnixMilli(), a.Who, a.Name, a.Project, a.Role, a.Origin, a.What, a.Object, a.Status, a.Detail)
	if err != nil {
		return fmt.Errorf("cannot write the audit record: %w", err)
	}
	return nil
}

// AuditFilter chooses rows of the audit record. Empty fields choose all.
type AuditFilter struct {
	Since time.Time
	Who   string // id or name of a token
	What  string
	Limit int
}

// Audits returns the newest rows, oldest first.
func (t *Tx) Audits(f AuditFilter) ([]Audit, error) {
	since := int64(0)
	if !f.Since.IsZero() {
		since = f.Since.UnixMilli()
	}
	return rows(t, func(scan func(...any) error) (Audit, error) {
		var a Audit
		var at int64
		err := scan(&a.ID, &at, &a.Who, &a.Name, &a.Project, &a.Role, &a.Origin, &a.What, &a.Object, &a.Status, &a.Detail)
		a.At = time.UnixMilli(at)
		return a, err
	}, `SELECT * FROM (SELECT id, at, who, name, project, role, origin, what, object, status, detail FROM audit
		WHERE at >= ? AND (? = '' OR who = ? OR name = ?) AND (? = '' OR what = ?) ORDER BY id DESC LIMIT ?) ORDER BY id`,
		since, f.Who, f.Who, f.Who, f.What, f.What, f.Limit)
}
