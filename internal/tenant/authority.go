// Package tenant owns identities: the installation's certificate authorities,
// the certificates of its server and agents, and access tokens. It must not
// know clusters.
package tenant

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/renameio/v2"
)

// DefaultLife is how long certificates of agents and of the server are good for.
// They are renewed after two thirds of it.
const DefaultLife = 90 * 24 * time.Hour

// authorityLife is how long a certificate authority is good for.
const authorityLife = 10 * 365 * 24 * time.Hour

// Files of the authority's directory. The key in ca.key signs tokens, and secrets
// follow from it: it stays for the life of the installation. It is the first
// authority for certificates too, until another takes over.
const (
	fileCert        = "ca.pem"
	fileKey         = "ca.key"
	fileAuthorities = "authorities.json"
)

// ErrOverlap is returned for a second rotation before the first is finished, and
// for retiring the only authority.
var ErrOverlap = errors.New("cannot change the certificate authorities")

// Config says where an authority is kept.
type Config struct {
	Dir  string
	Life time.Duration // of certificates of agents and of the server; DefaultLife where 0
}

// Authority signs the certificates and the tokens of one installation. It is safe
// for concurrent use.
type Authority struct {
	dir     string
	life    time.Duration
	signing issuer // of tokens

	mu      sync.Mutex
	issuers []issuer // trusted for certificates, oldest first: one, or two while one takes over
	changed chan struct{}
}

// issuer is one certificate authority.
type issuer struct {
	id      string
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
	pem     []byte
	created time.Time
}

// OpenAuthority is Open with default lives.
func OpenAuthority(dir string) (*Authority, error) { return Open(Config{Dir: dir}) }

// Open reads the authority of a directory, or makes it on first use. Keys are
// readable by their owner only.
func Open(cfg Config) (*Authority, error) {
	if cfg.Life == 0 {
		cfg.Life = DefaultLife
	}
	a := &Authority{dir: cfg.Dir, life: cfg.Life, changed: make(chan struct{})}
	var err error
	if a.signing, err = openSigning(cfg.Dir); err != nil {
		return nil, err
	}
	if a.issuers, err = readIssuers(filepath.Join(cfg.Dir, fileAuthorities)); err != nil {
		return nil, err
	}
	if len(a.issuers) == 0 {
		a.issuers = []issuer{a.signing}
	}
	return a, nil
}

// openSigning reads the pair that signs tokens, or makes it.
func openSigning(dir string) (issuer, error) {
	cert, err := os.ReadFile(filepath.Join(dir, fileCert))
	if errors.Is(err, fs.ErrNotExist) {
		return makeSigning(dir)
	}
	if err != nil {
		return issuer{}, fmt.Errorf("cannot read certificate authority: %w", err)
	}
	key, err := os.ReadFile(filepath.Join(dir, fileKey))
	if err != nil {
		return issuer{}, fmt.Errorf("cannot read certificate authority: %w", err)
	}
	return parseIssuer(cert, key)
}

func makeSigning(dir string) (issuer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return issuer{}, fmt.Errorf("cannot make certificate authority: %w", err)
	}
	i, key, err := newIssuer()
	if err != nil {
		return issuer{}, err
	}
	// The key first: a certificate without its key would not be noticed as missing.
	if err := renameio.WriteFile(filepath.Join(dir, fileKey), key, 0o600); err != nil {
		return issuer{}, fmt.Errorf("cannot keep certificate authority: %w", err)
	}
	if err := renameio.WriteFile(filepath.Join(dir, fileCert), i.pem, 0o644); err != nil {
		return issuer{}, fmt.Errorf("cannot keep certificate authority: %w", err)
	}
	return i, nil
}

// newIssuer makes a certificate authority, and its key as PEM.
func newIssuer() (issuer, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return issuer{}, nil, err
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "howdah authority"},
		NotBefore: now.Add(-slack(authorityLife)), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return issuer{}, nil, fmt.Errorf("cannot make certificate authority: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return issuer{}, nil, err
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	i, err := parseIssuer(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyPEM)
	return i, keyPEM, err
}

// parseIssuer reads a pair that belongs together.
func parseIssuer(certPEM, keyPEM []byte) (issuer, error) {
	i := issuer{pem: certPEM}
	certBlock, _ := pem.Decode(certPEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certBlock == nil || keyBlock == nil {
		return i, errors.New("cannot read certificate authority: it is not PEM")
	}
	var err error
	if i.cert, err = x509.ParseCertificate(certBlock.Bytes); err != nil {
		return i, fmt.Errorf("cannot read certificate authority: %w", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return i, fmt.Errorf("cannot read certificate authority: %w", err)
	}
	var ok bool
	if i.key, ok = key.(*ecdsa.PrivateKey); !ok {
		return i, errors.New("cannot use certificate authority: its key is not an ECDSA key")
	}
	if !i.key.PublicKey.Equal(i.cert.PublicKey) {
		return i, errors.New("cannot use certificate authority: its key belongs to another certificate")
	}
	i.id, i.created = idOf(i.cert), i.cert.NotBefore.Add(slack(authorityLife))
	return i, nil
}

// idOf names an authority by its certificate.
func idOf(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:4])
}

// keptIssuer is an authority in its file. All are in one file, which is replaced as
// a whole: a crash leaves the state before or after, and nothing between.
type keptIssuer struct {
	Certificate string `json:"certificate"` // PEM
	Key         string `json:"key"`         // PEM
}

// readIssuers reads the authorities for certificates; none before the first
// rotation.
func readIssuers(path string) ([]issuer, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read certificate authorities: %w", err)
	}
	var kept []keptIssuer
	if err := json.Unmarshal(data, &kept); err != nil || len(kept) == 0 {
		return nil, errors.Join(fmt.Errorf("cannot read certificate authorities %s; restore it from a backup of the home", path), err)
	}
	var out []issuer
	for _, k := range kept {
		i, err := parseIssuer([]byte(k.Certificate), []byte(k.Key))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, i)
	}
	return out, nil
}

// replace keeps other authorities and tells those who wait for it. The caller
// holds the lock.
func (a *Authority) replace(issuers []issuer) error {
	var kept []keptIssuer
	for _, i := range issuers {
		der, err := x509.MarshalPKCS8PrivateKey(i.key)
		if err != nil {
			return err
		}
		kept = append(kept, keptIssuer{string(i.pem), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))})
	}
	data, err := json.MarshalIndent(kept, "", " ")
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(a.dir, fileAuthorities), data, 0o600); err != nil {
		return fmt.Errorf("cannot keep certificate authorities: %w", err)
	}
	a.issuers = issuers
	close(a.changed)
	a.changed = make(chan struct{})
	return nil
}

// Rotate makes a new authority, which issues agents' certificates from now on. The
// old one stays trusted until it is retired.
func (a *Authority) Rotate() (id string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.issuers) > 1 {
		return "", fmt.Errorf("%w: %s is still taking over from %s; retire that one first: howdah ca retire", ErrOverlap, a.newest().id, a.oldest().id)
	}
	i, _, err := newIssuer()
	if err != nil {
		return "", err
	}
	return i.id, a.replace([]issuer{a.oldest(), i})
}

// Retire ends the trust in the older of two authorities.
func (a *Authority) Retire() (id string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.issuers) < 2 {
		return "", fmt.Errorf("%w: %s is the only one; make its successor first: howdah ca rotate", ErrOverlap, a.oldest().id)
	}
	old := a.oldest()
	return old.id, a.replace([]issuer{a.newest()})
}

// The caller of either holds the lock.
func (a *Authority) oldest() issuer { return a.issuers[0] }
func (a *Authority) newest() issuer { return a.issuers[len(a.issuers)-1] }

// Changed returns a channel that is closed when the authorities change.
func (a *Authority) Changed() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changed
}

// Issuer says what an authority is.
type Issuer struct {
	ID      string
	Created time.Time
	Expires time.Time
	Issues  bool // it signs what agents get now
}

// Issuers returns the trusted authorities, oldest first.
func (a *Authority) Issuers() []Issuer {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []Issuer
	for n, i := range a.issuers {
		out = append(out, Issuer{i.id, i.created, i.cert.NotAfter, n == len(a.issuers)-1})
	}
	return out
}

// Issues tells whether an authority issues what agents get now.
func (a *Authority) Issues(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.newest().id == id
}

// PEM returns the certificate that tokens are checked with. It stays the same for
// the life of the installation.
func (a *Authority) PEM() []byte { return a.signing.pem }

// Bundle returns the certificates of all trusted authorities as PEM.
func (a *Authority) Bundle() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	var b bytes.Buffer
	for _, i := range a.issuers {
		b.Write(i.pem)
	}
	return b.Bytes()
}

// Pool returns a pool of all trusted authorities.
func (a *Authority) Pool() *x509.CertPool {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := x509.NewCertPool()
	for _, i := range a.issuers {
		p.AddCert(i.cert)
	}
	return p
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil { // the system's randomness does not fail
		panic(err)
	}
	return n
}

// NewSecret makes a random token and the digest of it that is kept.
func NewSecret() (token, hash string) {
	buf := make([]byte, 32)
	if _, err := rand.Read(buf); err != nil { // the system's randomness does not fail
		panic(err)
	}
	token = hex.EncodeToString(buf)
	return token, Hash(token)
}

// Hash is the digest under which a token is kept.
func Hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
