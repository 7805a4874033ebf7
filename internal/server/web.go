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
	serve := s.cfg.Web[at.Adapter]
	if serve == nil {
		writeError(w, fmt.Errorf("%w: this howdah has no protocol client %s with a web API", cluster.ErrUnsupported, at.Adapter))
		return
	}
	base := webBase(name, own)
	if r.URL.Path == base {
		r = r.Clone(r.Context())
		r.URL.Path, r.URL.RawPath = base+"/", ""
	}
	http.StripPrefix(base, serve(at)).ServeHTTP(w, r)
}

// webBase is where the server has a web API of a cluster.
func webBase(cluster, path string) string { return "/clusters/" + cluster + "/" + path }

// webMethods are those that reach a protocol client, GET with HEAD.
var webMethods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

const (
	// webPause is the least time between two looks at which listeners are wanted:
	// clusters change often while they start.
	webPause = time.Second
	// webRetry is how often a listener that was refused is tried again.
	webRetry = 5 * time.Second
)

// webListeners are the servers at nodes' addresses. One goroutine has them.
type webListeners struct {
	s       *Server
	api     http.Handler // the server's, with login and all
	open    map[netip.AddrPort]openListener
	refused map[netip.AddrPort]string // what was said of it last
}

type openListener struct {
	want cluster.WebListener
	srv  *http.Server
}

// keepWebListeners has every web API that is wanted for reading at nodes'
// addresses there, as long as its cluster runs. Requests go to handler, which
// asks who calls.
func (s *Server) keepWebListeners(ctx context.Context, handler http.Handler) {
	sub := s.store.Subscribe(store.TopicClusters)
	defer sub.Close()
	ls := &webListeners{s: s, api: handler, open: map[netip.AddrPort]openListener{}, refused: map[netip.AddrPort]string{}}
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
	srv := s.http(ctx, ls.reader(want))
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
	text := fmt.Sprintf("%s of %s is not served at %s: %v; it is at %s%s", l.API, l.Cluster, l.Address, err, ls.s.info().Address, webBase(l.Cluster, l.API))
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

// reader hands what asks for reading at a node's address to the server's API, at
// the address the cluster's web API has there, so that what holds there holds here.
func (ls *webListeners) reader(l cluster.WebListener) http.Handler {
	base := webBase(l.Cluster, l.API)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			writeProblem(w, http.StatusMethodNotAllowed, "this address is for reading; changes go to "+ls.s.info().Address+base)
			return
		}
		if r.URL.Path != l.Path && !strings.HasPrefix(r.URL.Path, l.Path+"/") {
			writeProblem(w, http.StatusNotFound, "there is nothing at this address; the API begins at "+l.Path)
			return
		}
		r = r.Clone(r.Context())
		r.URL.Path = base + strings.TrimPrefix(r.URL.Path, l.Path)
		if raw, ok := strings.CutPrefix(r.URL.RawPath, l.Path); ok {
			r.URL.RawPath = base + raw
		} else {
			r.URL.RawPath = ""
		}
		ls.api.ServeHTTP(w, r)
	})
}
