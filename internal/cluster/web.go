package cluster

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
)

// WebAPI finds the web API of a cluster that a path belongs to: its own path,
// and where its protocol client asks. The error may be store.ErrNotFound,
// ErrUnsupported or, where the cluster is stopped, ErrBusy.
func (m *Manager) WebAPI(ctx context.Context, cluster, path string) (string, stack.Bound, error) {
	var (
		own string
		b   stack.Bound
	)
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		c, r, s, err := m.renderer(tx, cluster)
		if err != nil {
			return err
		}
		var ok bool
		if own, ok = s.WebAt(path); !ok {
			return fmt.Errorf("%w: cluster %s offers %s", ErrUnsupported, cluster, webAPIs(s))
		}
		if b, err = r.Web(own); err != nil {
			return err
		}
		return wantedRunning(c)
	})
	return own, b, err
}

func webAPIs(s *stack.Stack) string {
	if len(s.Web) == 0 {
		return "no web API through the server"
	}
	return "web APIs at " + strings.Join(slices.Sorted(maps.Keys(s.Web)), ", ") + " only"
}

// WebListener is a place where a web API of a running cluster is wanted for
// reading, at the address of one of its nodes.
type WebListener struct {
	Cluster, Node string
	Address       netip.AddrPort
	stack.Listening
}

// WebListeners are the places that running nodes of running clusters have.
func (m *Manager) WebListeners(ctx context.Context) ([]WebListener, error) {
	var out []WebListener
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		clusters, err := tx.Clusters()
		if err != nil {
			return err
		}
		for _, c := range clusters {
			if c.Revision == 0 || c.Intent != agentapi.IntentRun || c.Suspended {
				continue
			}
			more, err := m.webListeners(tx, c)
			if err != nil {
				return err
			}
			out = append(out, more...)
		}
		return nil
	})
	return out, err
}

func (m *Manager) webListeners(tx *store.Tx, c store.Cluster) ([]WebListener, error) {
	rev, s, err := m.revision(tx, c.ID, c.Revision)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(slices.Collect(maps.Values(s.Web)), func(w stack.WebAPI) bool { return w.Listen != nil }) {
		return nil, nil
	}
	nodes, err := tx.Nodes(c.ID)
	if err != nil {
		return nil, err
	}
	addresses := map[string]string{}
	for _, n := range nodes {
		if running(n.Intent) {
			addresses[n.Name] = n.Address
		}
	}
	var out []WebListener
	for _, mem := range rev.Members {
		address, err := netip.ParseAddr(addresses[mem.Name])
		if err != nil {
			continue // it has none yet, or does not run
		}
		for _, l := range s.Listenings(mem.Roles) {
			out = append(out, WebListener{c.Name, mem.Name, netip.AddrPortFrom(address, uint16(l.Port)), l})
		}
	}
	return out, nil
}
