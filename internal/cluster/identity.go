package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/tenant"
)

// What ends requests of agents that were let in.
var (
	errRemoved = fmt.Errorf("%w: the node is removed, and its certificate with it", ErrDenied)
	errEnded   = fmt.Errorf("%w: the certificate of the connection has ended", ErrDenied)
	errRetired = fmt.Errorf("%w: the authority of the connection's certificate was retired", ErrDenied)
)

// identities is what the manager knows of who its agents are. The manager's lock
// guards it.
type identities struct {
	guests     map[string]*guests     // open requests of agents by node
	shown      map[string]tenant.Peer // the newest certificate each node showed
	there      map[string]bool        // nodes that were looked up and not removed since
	removals   int
	restricted tokenRestrictions
}

// guests are the open requests of one node.
type guests struct {
	next int
	open map[int]guest
}

// guest is one open request.
type guest struct {
	authority string // of the certificate it came with
	end       context.CancelCauseFunc
}

// peerKey is where a request's context holds whose certificate it came with.
type peerKey struct{}

// peerOf returns whose certificate a request came with; the zero peer without one.
func peerOf(ctx context.Context) tenant.Peer {
	p, _ := ctx.Value(peerKey{}).(tenant.Peer)
	return p
}

// Admit lets a request of an agent in: its node must be there and not on its way
// out. The context ends at once when the node is removed, and when the certificate
// is good no longer; leave is called at the request's end.
func (m *Manager) Admit(ctx context.Context, p tenant.Peer) (_ context.Context, leave func(), err error) {
	ctx, over := context.WithValue(ctx, peerKey{}, p), func() {}
	if !p.Expires.IsZero() {
		ctx, over = context.WithDeadlineCause(ctx, p.Expires, errEnded)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	// Noted first, then looked at: a removal between the two ends it as well.
	gone := m.enter(p.Node, guest{p.Authority, cancel})
	leave = func() { gone(); cancel(nil); over() }
	if err := m.there(ctx, p.Node); err != nil {
		leave()
		return nil, nil, err
	}
	m.saw(ctx, p)
	return ctx, leave, nil
}

// there returns errRemoved for a node that is not there or on its way out. Nobody else
// removes nodes, so that it is looked up once.
func (m *Manager) there(ctx context.Context, node string) error {
	m.mu.Lock()
	known, removals := m.ids.there[node], m.ids.removals
	m.mu.Unlock()
	if known {
		return nil
	}
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		n, err := tx.Node(node)
		if errors.Is(err, store.ErrNotFound) || err == nil && n.Intent == agentapi.IntentGone {
			return errRemoved
		}
		return err
	})
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ids.removals == removals { // else it may be this one that was removed meanwhile
		if m.ids.there == nil {
			m.ids.there = map[string]bool{}
		}
		m.ids.there[node] = true
	}
	return nil
}

func (m *Manager) enter(node string, who guest) (leave func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.ids.guests[node]
	if g == nil {
		g = &guests{open: map[int]guest{}}
		if m.ids.guests == nil {
			m.ids.guests = map[string]*guests{}
		}
		m.ids.guests[node] = g
	}
	g.next++
	id := g.next
	g.open[id] = who
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(g.open, id)
		if len(g.open) == 0 && m.ids.guests[node] == g {
			delete(m.ids.guests, node)
		}
	}
}

// dismiss ends the open requests of a node that is being removed.
func (m *Manager) dismiss(node string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.ids.there, node)
	m.ids.removals++
	if g := m.ids.guests[node]; g != nil {
		for _, who := range g.open {
			who.end(errRemoved)
		}
	}
}

// dismissOf ends the open requests that came with certificates of an authority.
func (m *Manager) dismissOf(authority string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, g := range m.ids.guests {
		for _, who := range g.open {
			if who.authority == authority {
				who.end(errRetired)
			}
		}
	}
}

// saw keeps the newest certificate a node shows, so that it is known who depends on which
// authority. What cannot be written now is written with the next request.
func (m *Manager) saw(ctx context.Context, p tenant.Peer) {
	m.mu.Lock()
	last := m.ids.shown[p.Node]
	m.mu.Unlock()
	// A request over the connection before may come later than one over the new.
	if p.Serial == "" || p.Serial == last.Serial || p.Issued.Before(last.Issued) {
		return
	}
	err := m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.PutNodeCertificate(store.NodeCertificate{Node: p.Node, Authority: p.Authority, Serial: p.Serial, Expires: p.Expires})
	})
	if err != nil {
		m.cfg.Log.Warn("cannot note which certificate a node has", "node", p.Node, "error", err)
		return
	}
	m.mu.Lock()
	if m.ids.shown == nil {
		m.ids.shown = map[string]tenant.Peer{}
	}
	m.ids.shown[p.Node] = p
	m.mu.Unlock()
}

// trusted is what an agent has been told of the authorities over one stream.
type trusted struct {
	peer  tenant.Peer
	told  [sha256.Size]byte // digest of the authorities, which are long and the same for all
	renew bool              // as it was told
}

// news is what is to be told now; nil for nothing.
func (t *trusted) news(a *tenant.Authority) *agentapi.Trust {
	now := agentapi.Trust{CA: string(a.Bundle()), Renew: t.peer.Renew || t.peer.Authority != "" && !a.Issues(t.peer.Authority)}
	digest := sha256.Sum256([]byte(now.CA))
	if digest == t.told && now.Renew == t.renew {
		return nil
	}
	t.told, t.renew = digest, now.Renew
	return &now
}

// Renew gives a node another certificate in the place of the one it asks with.
func (m *Manager) Renew(_ context.Context, r agentapi.RenewRequest) (agentapi.RenewResponse, error) {
	der, err := m.cfg.Authority.Node(r.Node, r.CSR)
	return agentapi.RenewResponse{Certificate: der, CA: m.cfg.Authority.Bundle()}, err
}

// Authorities lists the certificate authorities and who has a certificate of which.
func (m *Manager) Authorities(ctx context.Context) (api.Authorities, error) {
	out := api.Authorities{Authorities: []api.Authority{}, Lost: []api.LostNode{}}
	for _, i := range m.cfg.Authority.Issuers() {
		out.Authorities = append(out.Authorities, api.Authority{ID: i.ID, Created: i.Created, Expires: i.Expires, Issues: i.Issues, Nodes: []string{}})
	}
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		nodes, err := m.identified(tx)
		if err != nil {
			return err
		}
		for _, n := range nodes {
			i := slices.IndexFunc(out.Authorities, func(a api.Authority) bool { return a.ID == n.cert.Authority })
			switch {
			case n.cert.Authority == "":
			case i < 0:
				out.Lost = append(out.Lost, lostNode(n.name, "its certificate is of the authority "+n.cert.Authority+", which was retired"))
			case !time.Now().Before(n.cert.Expires):
				out.Lost = append(out.Lost, lostNode(n.name, "its certificate ended "+n.cert.Expires.UTC().Format(time.RFC3339)))
			default:
				out.Authorities[i].Nodes = append(out.Authorities[i].Nodes, n.name)
			}
		}
		return nil
	})
	return out, err
}

func lostNode(node, why string) api.LostNode {
	return api.LostNode{Node: node, Message: why, Remedy: "howdah ca rejoin " + node}
}

// identified is a node that is there and the certificate it showed last.
type identified struct {
	id, name string
	cert     store.NodeCertificate // the zero one before it has shown any
	version  string                // of its agent
}

// identified lists the nodes that are not on their way out, in order of name.
func (m *Manager) identified(tx *store.Tx) ([]identified, error) {
	nodes, err := tx.Nodes("")
	if err != nil {
		return nil, err
	}
	certs, err := tx.NodeCertificates()
	if err != nil {
		return nil, err
	}
	var out []identified
	for _, n := range nodes {
		if n.Intent == agentapi.IntentGone {
			continue
		}
		i := identified{id: n.ID, name: n.Name, cert: certs[n.ID]}
		if n.Facts != nil {
			i.version = n.Facts.Version
		}
		out = append(out, i)
	}
	slices.SortFunc(out, func(a, b identified) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// RotateAuthority makes a new certificate authority. Agents that are connected renew
// their certificates at once, others when they come back.
func (m *Manager) RotateAuthority(ctx context.Context) (api.Authorities, error) {
	id, err := m.cfg.Authority.Rotate()
	if err != nil {
		return api.Authorities{}, refusedRotation(err)
	}
	m.note(ctx, api.Event{Type: "ca.rotated", Message: "the certificate authority " + id + " takes over"})
	return m.Authorities(ctx)
}

// RetireAuthority ends the trust in the older of two authorities. While nodes depend
// on it, it is refused; with force those nodes have to be brought back by Rejoin.
func (m *Manager) RetireAuthority(ctx context.Context, force bool) (api.Authorities, error) {
	issuers := m.cfg.Authority.Issuers()
	if len(issuers) > 1 && !force {
		newest := issuers[len(issuers)-1].ID
		var dependent []string
		err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
			nodes, err := m.identified(tx)
			for _, n := range nodes {
				if n.cert.Authority != newest {
					dependent = append(dependent, n.name)
				}
			}
			return err
		})
		if err != nil {
			return api.Authorities{}, err
		}
		if len(dependent) > 0 {
			return api.Authorities{}, &GuardError{
				Message: fmt.Sprintf("the authority %s is not retired: these nodes have no certificate of %s yet: %s", issuers[0].ID, newest, some(dependent)),
				Detail:  "wait until they are connected, or delete them; to retire it all the same: howdah ca retire --force, then howdah ca rejoin NODE for each",
			}
		}
	}
	id, err := m.cfg.Authority.Retire()
	if err != nil {
		return api.Authorities{}, refusedRotation(err)
	}
	m.dismissOf(id)
	m.note(ctx, api.Event{Type: "ca.retired", Message: "the certificate authority " + id + " is trusted no longer"})
	return m.Authorities(ctx)
}

func refusedRotation(err error) error {
	if errors.Is(err, tenant.ErrOverlap) {
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	return err
}

// note writes an event of something that has happened already; what cannot be
// written is in the log.
func (m *Manager) note(ctx context.Context, e api.Event) {
	m.cfg.Log.Info("certificate authorities changed", "message", e.Message)
	if err := m.cfg.Store.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error { return tx.Event(e) }); err != nil {
		m.cfg.Log.Error("cannot write an event", "type", e.Type, "error", err)
	}
}

// Rejoin hands a node a new join file: it joins again, whatever has become of its
// certificate, and keeps all it has. The node is named by its name or its id.
func (m *Manager) Rejoin(ctx context.Context, name string) (api.Rejoined, error) {
	var n store.Node
	var of string
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if n, err = nodeNamed(tx, name); err != nil {
			return err
		}
		c, err := tx.ClusterByID(n.Cluster)
		of = c.Name
		return err
	})
	if err != nil {
		return api.Rejoined{}, err
	}
	inviter, ok := m.cfg.Drivers[n.Infrastructure].(infra.Inviter)
	if !ok {
		return api.Rejoined{}, fmt.Errorf("%w: the infrastructure %s cannot hand a node a new join file; delete the node and let another be made", ErrUnsupported, n.Infrastructure)
	}
	join, err := m.joinFile(ctx, n)
	if err != nil {
		return api.Rejoined{}, err
	}
	if err := inviter.Invite(ctx, ref(of, n), join); err != nil {
		return api.Rejoined{}, fmt.Errorf("cannot invite %s: %w", n.Name, err)
	}
	return api.Rejoined{Node: n.Name, Cluster: of, Until: time.Now().Add(joinTokenLife)}, nil
}

// nodeNamed finds a node that is not on its way out by its name or its id.
func nodeNamed(tx *store.Tx, name string) (store.Node, error) {
	nodes, err := tx.Nodes("")
	if err != nil {
		return store.Node{}, err
	}
	nodes = slices.DeleteFunc(nodes, func(n store.Node) bool {
		return n.Intent == agentapi.IntentGone || n.Name != name && n.ID != name
	})
	switch len(nodes) {
	case 0:
		return store.Node{}, fmt.Errorf("node %s: %w; howdah get nodes lists those there are", name, store.ErrNotFound)
	case 1:
		return nodes[0], nil
	}
	return store.Node{}, fmt.Errorf("%w: %d clusters have a node %s; give its id: %s or %s", ErrInvalid, len(nodes), name, nodes[0].ID, nodes[1].ID)
}

// kindRestrictions is the kind of secret file that tells a program which tokens give
// no access.
const kindRestrictions = "restrictions"

// tokenRestrictions is what agents hand to programs that check tokens.
type tokenRestrictions struct {
	text    string        // JSON
	changed chan struct{} // closed when there is another
}

// Restrict says which tokens give no access any more. Connected agents write it into
// the files of their services at once, and nothing is restarted.
func (m *Manager) Restrict(r tenant.Restrictions) {
	if r.Revoked == nil {
		r.Revoked = []string{}
	}
	text, err := json.Marshal(r)
	if err != nil { // numbers and words can be written
		panic(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ids.restricted.changed != nil {
		close(m.ids.restricted.changed)
	}
	m.ids.restricted = tokenRestrictions{string(text), make(chan struct{})}
}

func (m *Manager) restrictions() (text string, changed <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ids.restricted.text, m.ids.restricted.changed
}

// NodeName returns the name of a node by its id; "" for one that is not there.
func (m *Manager) NodeName(ctx context.Context, id string) string {
	name := ""
	_ = m.cfg.Store.View(ctx, func(tx *store.Tx) error { // no name is an answer
		n, err := tx.Node(id)
		name = n.Name
		return err
	})
	return name
}

// Agents lists the nodes that are not on their way out: their agents' versions and
// how long their certificates are good.
func (m *Manager) Agents(ctx context.Context) ([]AgentIdentity, error) {
	var out []AgentIdentity
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		nodes, err := m.identified(tx)
		for _, n := range nodes {
			out = append(out, AgentIdentity{n.name, n.version, n.cert.Expires})
		}
		return err
	})
	return out, err
}

// AgentIdentity is who an agent is.
type AgentIdentity struct {
	Node    string
	Version string    // "" before it has joined
	Expires time.Time // of its certificate; zero before it has shown one
}

// Unrestricted lists the clusters with programs that check tokens and do not hear
// which ones are revoked: their stacks were made before there was such a thing.
func (m *Manager) Unrestricted(ctx context.Context) ([]string, error) {
	var out []string
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		cs, err := tx.Clusters()
		if err != nil {
			return err
		}
		for _, c := range cs {
			if c.Revision == 0 {
				continue
			}
			_, s, err := m.revision(tx, c.ID, c.Revision)
			if err != nil {
				return err
			}
			for _, svc := range s.Services {
				if holds(svc.Secrets, "authority") && !holds(svc.Secrets, kindRestrictions) && !slices.Contains(out, c.Name) {
					out = append(out, c.Name)
				}
			}
		}
		return nil
	})
	return out, err
}

func holds(secrets map[string]stack.Secret, kind string) bool {
	for _, s := range secrets {
		if s.Kind == kind {
			return true
		}
	}
	return false
}
