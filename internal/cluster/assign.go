package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/tenant"
)

// errNoHost is returned for a node whose agent has not told where it runs.
var errNoHost = errors.New("its agent has not joined yet")

// rendered is a rendering and what it was made from.
type rendered struct {
	key string // digest of what it was made from
	as  *agentapi.Assignment
	sum string
}

// Assignment renders what a node should be running now. Its generation rises
// whenever the rendering differs from the last one; that number and a digest
// are all that is kept of it.
func (m *Manager) Assignment(ctx context.Context, nodeID string) (*agentapi.Assignment, error) {
	var r *rendered
	var n store.Node
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if n, err = tx.Node(nodeID); err != nil {
			return err
		}
		r, err = m.remembered(tx, n)
		return err
	})
	if err != nil {
		return nil, err
	}
	as := *r.as
	if as.Generation = n.Generation; n.Rendered == r.sum {
		return &as, nil
	}
	err = m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		n, err := tx.Node(nodeID)
		if err != nil {
			return err
		}
		if r, err = m.remembered(tx, n); err != nil {
			return err
		}
		if n.Rendered != r.sum {
			n.Rendered = r.sum
			n.Generation++
			if err := tx.PutNode(n); err != nil {
				return err
			}
		}
		as = *r.as
		as.Generation = n.Generation
		return nil
	})
	return &as, err
}

// remembered renders, unless nothing a rendering is made from has changed.
func (m *Manager) remembered(tx *store.Tx, n store.Node) (*rendered, error) {
	rev, s, err := m.revision(tx, n.Cluster, n.Revision)
	if err != nil {
		return nil, err
	}
	leaving, err := leavingNodes(tx, rev)
	if err != nil {
		return nil, err
	}
	open, err := tx.OpenTasks(n.ID)
	if err != nil {
		return nil, err
	}
	var from bytes.Buffer
	restrictions, _ := m.restrictions()
	fmt.Fprint(&from, n.Revision, n.Intent, n.Facts, n.Java, slices.Sorted(maps.Keys(leaving)), restrictions)
	for _, t := range open {
		fmt.Fprint(&from, t.ID, t.Task.Cancel)
	}
	key := digestOf(from.Bytes())
	m.mu.Lock()
	r := m.rendered[n.ID]
	m.mu.Unlock()
	if r != nil && r.key == key {
		return r, nil
	}
	host := m.hostOf(n)
	if host == nil {
		return nil, errNoHost
	}
	as, sum, err := m.render(n, *host, m.rendererOf(rev, s, leaving), s, open)
	if err != nil {
		return nil, err
	}
	r = &rendered{key: key, as: as, sum: sum}
	m.mu.Lock()
	m.rendered[n.ID] = r
	m.mu.Unlock()
	return r, nil
}

// render renders a node's assignment without its generation, and its digest.
func (m *Manager) render(n store.Node, host stack.Host, r *stack.Renderer, s *stack.Stack, open []store.Task) (*agentapi.Assignment, string, error) {
	if n.Intent == agentapi.IntentDrain {
		r = r.Draining(n.Name)
	}
	as, err := r.Assignment(n.Name, host)
	if err != nil {
		return nil, "", err
	}
	as.Node.ID, as.Intent = n.ID, n.Intent
	for i := range as.Archives {
		as.Archives[i].ListBlob = m.classList(s, as.Archives[i].ListBlob)
	}
	// Secrets are in no digest, and tasks come and go beside the services: neither
	// makes a new generation.
	data, err := json.Marshal(as)
	if err != nil {
		return nil, "", fmt.Errorf("cannot encode assignment: %w", err)
	}
	for _, t := range open {
		as.Tasks = append(as.Tasks, t.Task)
	}
	return as, digestOf(data), m.fillSecrets(as, n)
}

// fillSecrets puts the contents of secret files into an assignment.
func (m *Manager) fillSecrets(as *agentapi.Assignment, n store.Node) error {
	for i := range as.Services {
		if err := m.fill(as.Services[i].Secrets, n); err != nil {
			return err
		}
	}
	for i := range as.Tasks {
		// The task is also kept in the store: the copy with its secrets is another.
		as.Tasks[i].Secrets = slices.Clone(as.Tasks[i].Secrets)
		if err := m.fill(as.Tasks[i].Secrets, n); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manager) fill(secrets []agentapi.Secret, n store.Node) error {
	for i := range secrets {
		text, err := m.secret(secrets[i], n)
		if err != nil {
			return err
		}
		secrets[i].Content = agentapi.SecretText(text)
	}
	return nil
}

// secret makes the content of one secret file. It is the same each time, but for
// restrictions.
func (m *Manager) secret(s agentapi.Secret, n store.Node) (string, error) {
	switch s.Kind {
	case "shared":
		return m.cfg.Authority.Derive("cluster secret", n.Cluster, s.Name), nil
	case "authority":
		return string(m.cfg.Authority.PEM()), nil
	case kindRestrictions:
		text, _ := m.restrictions()
		return text, nil
	case "token":
		return m.cfg.Authority.Sign(tenant.NodeToken(n.ID, n.Name, tenant.Role(s.Role)))
	}
	return "", fmt.Errorf("cannot make secret file %s: there is no kind %q", s.Path, s.Kind)
}

// classList puts a class list into the cache and returns its digest; "" where
// there is none, then no archive is built.
func (m *Manager) classList(s *stack.Stack, file string) string {
	data := m.cfg.Stacks.ClassList(s.Name, file)
	if data == nil {
		return ""
	}
	sum, err := m.putBlob(data)
	if err != nil {
		m.cfg.Log.Warn("cannot keep class list", "file", file, "error", err)
		return ""
	}
	return sum
}

// putBlob keeps small data in the cache, once.
func (m *Manager) putBlob(data []byte) (string, error) {
	sum := digestOf(data)
	if f, err := m.cfg.Cache.Open(sum); err == nil {
		return sum, f.Close()
	}
	got, _, err := m.cfg.Cache.Put(context.Background(), bytes.NewReader(data))
	return got, err
}
