// Package process owns the programs of a cell as they run on nodes: it reads
// their configuration files, puts the parts together and serves them until the
// process is told to end. It holds no rules of its own.
package process

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"howdah.dev/howdah/internal/tenant"
)

const (
	maxConfig     = 1 << 20
	shutdownGrace = 3 * time.Second
)

// read reads a configuration file; a key it does not know is an error.
func read(path string, into any) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("cannot read configuration: %w", err)
	}
	if info.Size() > maxConfig {
		return fmt.Errorf("cannot read configuration %s: it is larger than 1 MiB", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("cannot read configuration: %w", err)
	}
	var doc any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return fmt.Errorf("cannot read configuration %s: %w", path, err)
	}
	if doc, err = nested(doc); err != nil {
		return fmt.Errorf("cannot read configuration %s: %w", path, err)
	}
	plain, err := json.Marshal(doc) // so that one set of names serves files and the API
	if err != nil {
		return fmt.Errorf("cannot read configuration %s: %w", path, err)
	}
	dec := json.NewDecoder(bytes.NewReader(plain))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("cannot read configuration %s: %w", path, err)
	}
	return nil
}

// unmarshalList reads a list, or one text with commas.
func unmarshalList(text []byte, into *[]string) error {
	var one string
	if json.Unmarshal(text, &one) != nil {
		return json.Unmarshal(text, into)
	}
	for word := range strings.SplitSeq(one, ",") {
		if word = strings.TrimSpace(word); word != "" {
			*into = append(*into, word)
		}
	}
	return nil
}

// nested makes {"a": {"b": 1}} of {"a.b": 1}: files of Howdah's stacks are flat.
func nested(doc any) (any, error) {
	flat, ok := doc.(map[string]any)
	if !ok {
		return doc, nil
	}
	out := map[string]any{}
	for key, value := range flat {
		at := out
		words := strings.Split(key, ".")
		for _, word := range words[:len(words)-1] {
			inner, ok := at[word].(map[string]any)
			if !ok {
				if _, taken := at[word]; taken {
					return nil, fmt.Errorf("%s is both a value and the beginning of %s", word, key)
				}
				inner = map[string]any{}
				at[word] = inner
			}
			at = inner
		}
		last := words[len(words)-1]
		if _, taken := at[last]; taken {
			return nil, fmt.Errorf("%s is given twice", key)
		}
		at[last] = value
	}
	return out, nil
}

// secretFile reads a file with a secret.
func secretFile(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("cannot read secret: %w", err)
	}
	secret := strings.TrimSpace(string(text))
	if len(secret) < 16 {
		return "", fmt.Errorf("cannot use secret %s: it is shorter than 16 characters", path)
	}
	return secret, nil
}

// gate knows who may speak to a program of a cell: the cell's other programs by
// the secret they share, everybody else by a token of the installation.
type gate struct {
	secret   string
	verifier *tenant.Verifier
}

// Access are the files a program checks its callers with.
type Access struct {
	Secret    string `json:"secret"`    // shared by the cell's programs
	Authority string `json:"authority"` // certificate that tokens are checked with
	// Restrictions says which tokens are good no longer; none where absent. The file
	// is read again when it changes.
	Restrictions string `json:"restrictions"`
}

func (a Access) open() (*gate, error) {
	secret, err := secretFile(a.Secret)
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(a.Authority)
	if err != nil {
		return nil, fmt.Errorf("cannot read the authority's certificate: %w", err)
	}
	known := &restrictions{path: a.Restrictions}
	if err := known.read(); err != nil {
		return nil, err
	}
	v, err := tenant.NewVerifier(pem, known.refuse)
	if err != nil {
		return nil, err
	}
	return &gate{secret, v}, nil
}

// errNobody is the answer to a request without credentials.
var errNobody = errors.New("a token is needed: howdah token create makes one")

// internal tells whether a request comes from one of the cell's programs.
func (g *gate) internal(r *http.Request) bool {
	return subtle.ConstantTimeCompare([]byte(tenant.FromRequest(r)), []byte(g.secret)) == 1
}

// who tells who makes a request.
func (g *gate) who(r *http.Request) (tenant.Token, error) {
	text := tenant.FromRequest(r)
	if text == "" {
		return tenant.Token{}, errNobody
	}
	if g.internal(r) {
		return tenant.Token{ID: "cell", Name: "cell", Project: tenant.DefaultProject, Role: tenant.Admin}, nil
	}
	return g.verifier.Verify(text, time.Now())
}

// authorize puts the cell's secret on a request.
func (g *gate) authorize(r *http.Request) { r.Header.Set("Authorization", "Bearer "+g.secret) }

// listener is where a program listens.
type listener struct {
	Address string // ip:port
	Host    string // a name that leads there, besides
}

// serve serves a handler until ctx ends. closing is called before the connections are
// cut.
func serve(ctx context.Context, at listener, h http.Handler, closing func(), log *slog.Logger) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", at.Address)
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	s := &http.Server{
		Handler: guard(h, at.Address, at.Host), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	log.Info("listening", "address", at.Address)
	select {
	case err := <-failed:
		return fmt.Errorf("cannot serve: %w", err)
	case <-ctx.Done():
	}
	closing()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if err := s.Shutdown(end); err != nil {
		return s.Close()
	}
	return nil
}

// epoch names one life of a process.
func epoch() string { return fmt.Sprintf("%x", time.Now().UnixNano()) }

// ensureDir makes a directory for its owner only.
func ensureDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot make directory: %w", err)
	}
	return nil
}
