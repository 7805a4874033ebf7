package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
)

// WebClients serve web APIs of clusters, by adapter name. Paths begin after the
// API's own; who calls was asked before.
type WebClients map[string]func(at stack.Bound) http.Handler

// clusterWeb serves what lies below /clusters/{name}/: the web APIs the
// cluster's stack offers.
func (s *Server) clusterWeb(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	own, at, err := s.manager.WebAPI(r.Context(), name, r.PathValue("rest"))
	if err != nil {
		writeError(w, err)
		return
	}
	s.serveWeb(w, r, at, "/clusters/"+name+"/"+own)
}

// serveWeb has a protocol client answer what lies below base.
func (s *Server) serveWeb(w http.ResponseWriter, r *http.Request, at stack.Bound, base string) {
	serve := s.cfg.Web[at.Adapter]
	if serve == nil {
		writeError(w, fmt.Errorf("%w: this howdah has no protocol client %s with a web API", cluster.ErrUnsupported, at.Adapter))
		return
	}
	if r.URL.Path == base {
		r = r.Clone(r.Context())
		r.URL.Path, r.URL.RawPath = base+"/", ""
	}
	http.StripPrefix(base, serve(at)).ServeHTTP(w, r)
}

func writeError(w http.ResponseWriter, err error) {
	p := &api.Problem{}
	errors.As(problem(err), &p)
	writeJSON(w, p.Status, "application/problem+json", p)
}

const (
	// webPause is the least time between two looks at which listeners are wanted:
	// clusters change often while they start.
	webPause = 300 * time.Millisecond
	// webRetry is how often a listener that was refused is tried again.
	webRetry = 5 * time.Second
)

// webListeners are the servers at nodes' addresses. One goroutine has them.
type webListeners struct {
	s       *Server
	open    map[netip.AddrPort]openListener
	refused map[netip.AddrPort]string // what was said of it last
}

type openListener struct {
	want cluster.WebListener
	srv  *http.Server
}

// keepWebListeners has every web API that is wanted for reading at nodes'
// addresses there, as long as its cluster runs.
func (s *Server) keepWebListeners(ctx context.Context) {
	sub := s.store.Subscribe(store.TopicClusters)
	defer sub.Close()
	ls := &webListeners{s: s, open: map[netip.AddrPort]openListener{}, refused: map[netip.AddrPort]string{}}
	defer ls.set(ctx, nil)
	for ctx.Err() == nil {
		want, err := s.manager.WebListeners(ctx)
		if err == nil {
			ls.set(ctx, want)
		} else if ctx.Err() == nil {
			s.log.Warn("cannot tell which web listeners are wanted", "error", err)
		}
		pause(ctx, webPause)
		select {
		case <-ctx.Done():
		case <-sub.C:
		case <-time.After(webRetry):
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// set opens what is wanted and closes what is not.
func (ls *webListeners) set(ctx context.Context, want []cluster.WebListener) {
	wanted := map[netip.AddrPort]cluster.WebListener{}
	for _, l := range want {
		wanted[l.Address] = l
	}
	for address, o := range ls.open {
		if wanted[address] != o.want {
			_ = o.srv.Close() // its listener is all that could fail
			delete(ls.open, address)
			ls.s.log.Info("web listener closed", "cluster", o.want.Cluster, "address", address)
		}
	}
	for address := range ls.refused {
		if _, ok := wanted[address]; !ok {
			delete(ls.refused, address)
		}
	}
	for address, l := range wanted {
		if _, ok := ls.open[address]; ok {
			continue
		}
		if err := ls.listen(ctx, l); err != nil {
			ls.refuse(ctx, l, err)
			continue
		}
		delete(ls.refused, address)
		ls.s.log.Info("web listener opened", "cluster", l.Cluster, "address", address)
	}
}

func (ls *webListeners) listen(ctx context.Context, want cluster.WebListener) error {
	s := ls.s
	if !s.subnet.Contains(want.Address.Addr()) {
		return fmt.Errorf("%s is not an address of the server's host", want.Address.Addr())
	}
	if want.Taken != "" {
		return fmt.Errorf("the node's own service %s has port %d", want.Taken, want.Port)
	}
	l, err := listen(ctx, want.Address)
	if err != nil {
		return err
	}
	srv := s.http(ctx, s.authenticated(s.webReader(want)))
	go func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			s.log.Error("web listener ended", "address", want.Address, "error", err)
		}
	}()
	ls.open[want.Address] = openListener{want, srv}
	return nil
}

// refuse says once why a listener is not there.
func (ls *webListeners) refuse(ctx context.Context, l cluster.WebListener, err error) {
	text := fmt.Sprintf("%s of %s is not served at %s: %v; it is at %s/clusters/%s/%s", l.API, l.Cluster, l.Address, err, ls.s.info().Address, l.Cluster, l.API)
	if ls.refused[l.Address] == text || ctx.Err() != nil {
		return
	}
	ls.refused[l.Address] = text
	ls.s.log.Warn("web listener refused", "cluster", l.Cluster, "node", l.Node, "address", l.Address, "error", err)
	err = ls.s.store.Update(ctx, func(tx *store.Tx) error {
		return tx.Event(api.Event{Type: "web.refused", Cluster: l.Cluster, Node: l.Node, Message: text})
	})
	if err != nil {
		ls.s.log.Warn("cannot keep an event", "error", err)
	}
}

// webReader serves a web API for reading at a node's address.
func (s *Server) webReader(l cluster.WebListener) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if callerOf(r.Context()).Role == "" { // the registry's addresses ask for themselves, elsewhere
			writeProblem(w, http.StatusUnauthorized, "a token is needed")
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			writeProblem(w, http.StatusMethodNotAllowed, fmt.Sprintf("this address is for reading; changes go to %s/clusters/%s/%s", s.info().Address, l.Cluster, l.API))
			return
		}
		if r.URL.Path != l.Path && !strings.HasPrefix(r.URL.Path, l.Path+"/") {
			writeProblem(w, http.StatusNotFound, "there is nothing at this address; the API begins at "+l.Path)
			return
		}
		_, at, err := s.manager.WebAPI(r.Context(), l.Cluster, l.API)
		if err != nil {
			writeError(w, err)
			return
		}
		s.serveWeb(w, r, at, l.Path)
	})
}
