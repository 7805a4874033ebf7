package tenant

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// DefaultProject is the project of an installation that has no other; it owns
// what belongs to none.
const DefaultProject = "default"

// Role is what a token may do in its project.
type Role string

// The roles, each of which may do what those before it may.
const (
	Viewer   Role = "viewer"   // read
	Operator Role = "operator" // also run, scale and stop what is there
	Admin    Role = "admin"    // everything
)

var roles = []Role{Viewer, Operator, Admin}

// Covers tells whether the role may do what another one may.
func (r Role) Covers(other Role) bool {
	want := slices.Index(roles, other)
	return want >= 0 && slices.Index(roles, r) >= want
}

// ParseRole reads a role.
func ParseRole(text string) (Role, error) {
	if r := Role(text); slices.Contains(roles, r) {
		return r, nil
	}
	return "", fmt.Errorf("there is no role %q; use viewer, operator or admin", text)
}

const (
	tokenPrefix = "howdah_"
	// tokenDomain keeps a signature of a token from being one of anything else.
	tokenDomain = "howdah token 1\x00"
	maxToken    = 2048 // bytes
)

// ErrToken is returned for a token that gives no access.
var ErrToken = errors.New("the token gives no access")

// Token says who a caller is. It is signed by the authority, so that every
// listener can check it with the authority's certificate alone, while the
// server is away.
type Token struct {
	ID      string    `json:"id"`
	Name    string    `json:"name,omitempty"`
	Project string    `json:"project"`
	Role    Role      `json:"role"`
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires,omitzero"` // zero means never
}

// nodePrefix begins the ids of nodes' tokens; no other token's id has a blank.
const nodePrefix = "node "

// NodeToken is the token of a node's own programs. It says the same each time, so
// that it need not be kept, and is good as long as the node is there.
func NodeToken(id, name string, role Role) Token {
	return Token{ID: nodePrefix + id, Name: name, Project: DefaultProject, Role: role}
}

// NodeOfToken returns the node that the token with an id belongs to, if it is a node's.
func NodeOfToken(id string) (node string, ok bool) { return strings.CutPrefix(id, nodePrefix) }

// Sign returns a token's text, which is a secret.
func (a *Authority) Sign(t Token) (string, error) {
	body, err := json.Marshal(t)
	if err != nil {
		return "", fmt.Errorf("cannot encode token: %w", err)
	}
	sum := sha256.Sum256(append([]byte(tokenDomain), body...))
	sig, err := a.signing.key.Sign(nil, sum[:], crypto.SHA256) // without chance: the same token again is the same text (RFC 6979)
	if err != nil {
		return "", fmt.Errorf("cannot sign token: %w", err)
	}
	enc := base64.RawURLEncoding
	return tokenPrefix + enc.EncodeToString(body) + "." + enc.EncodeToString(sig), nil
}

// Derive returns 64 hexadecimal digits that only this authority can make of the
// labels: a secret that need not be kept anywhere.
func (a *Authority) Derive(labels ...string) string {
	key, err := a.signing.key.Bytes()
	if err != nil { // a key that was read is well-formed
		panic(err)
	}
	mac := hmac.New(sha256.New, key)
	for _, l := range labels {
		fmt.Fprintf(mac, "%d %s\x00", len(l), l)
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// RefusedError is a token of this installation that gives no access.
type RefusedError struct {
	Token  Token // for records; it must give nothing
	Reason string
}

// Error says why.
func (e *RefusedError) Error() string { return ErrToken.Error() + ": " + e.Reason }

// Unwrap returns ErrToken.
func (e *RefusedError) Unwrap() error { return ErrToken }

// Restrictions are what a token's own text cannot say: which ones are good no longer.
// Listeners that know no server read them from a file.
type Restrictions struct {
	Revoked []string `json:"revoked"` // ids
	// MaxLife is the longest a token may be good for, in seconds; 0 for any.
	MaxLife int64 `json:"maxLife,omitempty"`
}

// Refuse says why a token gives no access; "" where it does.
func (r Restrictions) Refuse(t Token) string {
	if slices.Contains(r.Revoked, t.ID) {
		return "it was revoked"
	}
	if r.MaxLife == 0 {
		return ""
	}
	most := time.Duration(r.MaxLife) * time.Second
	switch {
	case t.Expires.IsZero():
		return "it has no end, which is not allowed here; make another with: howdah token create --for 720h"
	case t.Expires.Sub(t.Issued) > most:
		return fmt.Sprintf("it is good for longer than %d days, which is not allowed here; make another with: howdah token create --for 720h", int(most/(24*time.Hour)))
	}
	return ""
}

// Verifier checks tokens of one authority.
type Verifier struct {
	key    *ecdsa.PublicKey
	refuse func(Token) string
}

// NewVerifier returns a verifier for the authority whose certificate is given as
// PEM. refuse says of a signed token why it gives no access all the same, "" where it
// does; nil refuses none.
func NewVerifier(authority []byte, refuse func(Token) string) (*Verifier, error) {
	block, _ := pem.Decode(authority)
	if block == nil {
		return nil, errors.New("cannot read certificate of the authority: it is not PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("cannot read certificate of the authority: %w", err)
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("cannot use certificate of the authority: its key is not an ECDSA key")
	}
	if refuse == nil {
		refuse = func(Token) string { return "" }
	}
	return &Verifier{key: key, refuse: refuse}, nil
}

// Verify returns what a token's text says, or an error that is ErrToken; for one of
// this installation a *RefusedError.
func (v *Verifier) Verify(text string, now time.Time) (Token, error) {
	rest, ok := strings.CutPrefix(text, tokenPrefix)
	body, sig, dot := strings.Cut(rest, ".")
	if !ok || !dot || len(text) > maxToken {
		return Token{}, fmt.Errorf("%w: it is not one of howdah's", ErrToken)
	}
	enc := base64.RawURLEncoding.Strict()
	payload, err := enc.DecodeString(body)
	if err != nil {
		return Token{}, fmt.Errorf("%w: it is not one of howdah's", ErrToken)
	}
	signature, err := enc.DecodeString(sig)
	if err != nil {
		return Token{}, fmt.Errorf("%w: it is not one of howdah's", ErrToken)
	}
	sum := sha256.Sum256(append([]byte(tokenDomain), payload...))
	if !ecdsa.VerifyASN1(v.key, sum[:], signature) {
		return Token{}, fmt.Errorf("%w: another authority signed it", ErrToken)
	}
	var t Token
	if err := json.Unmarshal(payload, &t); err != nil {
		return Token{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	if !t.Expires.IsZero() && !now.Before(t.Expires) {
		return Token{}, &RefusedError{t, "it ended " + t.Expires.UTC().Format(time.RFC3339)}
	}
	if why := v.refuse(t); why != "" {
		return Token{}, &RefusedError{t, why}
	}
	return t, nil
}

// FromRequest returns the token a request carries: as bearer, or as the password
// of Basic.
func FromRequest(r *http.Request) string {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return token
	}
	_, password, _ := r.BasicAuth()
	return password
}
