// Package server wires an installation together and serves it: the REST API
// for people and tools, and the connection agents keep. It holds no rules of
// its own; those are in cluster, op, stack and plan.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/net/netutil"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/artifact"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/host"
	"howdah.dev/howdah/internal/image/imagestore"
	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/infra/local"
	"howdah.dev/howdah/internal/infra/local/identity"
	"howdah.dev/howdah/internal/infra/local/sockets"
	"howdah.dev/howdah/internal/infra/local/subnet"
	"howdah.dev/howdah/internal/node/proc"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/tenant"
)

// Ports of the server, on the first address of its subnet.
const (
	apiPort   = 7070
	agentPort = 7443
)

// reserveMB is memory of the host that nodes do not get.
const reserveMB = 1024

// Config is what a server needs.
type Config struct {
	Home    Home
	Options Options
	Version string
	Build   string                            // digest of this program
	Stacks  fs.FS                             // that come with the binary
	Clients func(user string) cluster.Clients // protocol clients by adapter
	Web     WebClients                        // web APIs by adapter
	Agent   []string                          // command of a local agent
	Drivers map[string]infra.Driver           // infrastructures beside local, by name
	// CertificateLife is how long certificates of agents and of the server are good
	// for; tenant.DefaultLife where 0.
	CertificateLife time.Duration
	Log             *slog.Logger

	// For tests that end the server at a chosen point: see op.Config and store.Config,
	// and something between the manager and the local infrastructure.
	Crash func(point string)
	Wrap  func(*local.Driver) infra.Driver
}

// Server is a running installation.
type Server struct {
	cfg       Config
	log       *slog.Logger
	store     *store.Store
	stacks    *stack.Catalog
	manager   *cluster.Manager
	cache     *artifact.Cache
	authority *tenant.Authority
	subnet    netip.Prefix
	memoryMB  int
	cpus      int
	user      string
	token     string
	verifier  *tenant.Verifier
	images    *imagestore.Store
	audit     *auditor
	stop      context.CancelFunc

	restrictions atomic.Pointer[tenant.Restrictions] // of tokens
}

// Run serves until ctx ends or the API is told to shut down. Services and
// agents go on after it.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.Home.Prepare(); err != nil {
		return err
	}
	unlock, err := cfg.Home.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s := &Server{cfg: cfg, log: cfg.Log, stop: stop}
	if err := s.open(ctx); err != nil {
		return err
	}
	defer s.store.Close()
	var rotating sync.WaitGroup
	defer rotating.Wait()
	defer stop()
	rotating.Go(func() { s.rotateLog(ctx) })
	rotating.Go(func() { s.collectImages(ctx) })
	return s.serve(ctx)
}

// collectEvery is how often the registry is tidied.
const collectEvery = time.Hour

// collectImages removes what no image needs: uploads that were given up, parts
// of images that were deleted.
func (s *Server) collectImages(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(collectEvery):
		}
		if _, err := s.images.Collect(ctx, imagestore.Collecting{}); err != nil {
			s.log.Warn("cannot tidy the registry", "error", err)
		}
	}
}

// rotateLog keeps the home's server log small. The home's lock makes this
// server the only one that does.
func (s *Server) rotateLog(ctx context.Context) {
	for ctx.Err() == nil {
		if _, err := proc.Rotate(s.cfg.Home.Log(), proc.MaxOwnLog, proc.KeepOwnLog); err != nil {
			s.log.Warn("cannot rotate the log", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Minute):
		}
	}
}

// open opens the state and builds the manager.
func (s *Server) open(ctx context.Context) error {
	h := s.cfg.Home
	var err error
	if s.stacks, err = s.catalog(); err != nil {
		return err
	}
	if s.subnet, err = subnet.Claim(ctx, subnet.Config{Home: h.Dir}); err != nil {
		return err
	}
	facts, err := host.ReadFacts(ctx)
	if err != nil {
		return fmt.Errorf("cannot learn what this host is: %w", err)
	}
	s.cpus, s.memoryMB = facts.Cores, int(facts.MemoryTotal>>20)-reserveMB
	if s.cfg.Options.MemoryMB > 0 {
		s.memoryMB = s.cfg.Options.MemoryMB
	}
	if u, err := user.Current(); err == nil {
		s.user = u.Username
	}
	if s.authority, err = tenant.Open(tenant.Config{Dir: h.Authority(), Life: s.cfg.CertificateLife}); err != nil {
		return err
	}
	if s.store, err = store.Open(ctx, store.Config{Path: h.Database(), Version: s.cfg.Version, Log: s.log, Crash: s.cfg.Crash}); err != nil {
		return err
	}
	if err := s.ownAddresses(ctx); err != nil {
		return errors.Join(err, s.store.Close())
	}
	s.cache = artifact.New(artifact.Config{Dir: h.Cache(), Log: s.log})
	driver, err := s.local(ctx)
	if err != nil {
		return errors.Join(err, s.store.Close())
	}
	drivers := map[string]infra.Driver{localInfra: driver}
	if s.cfg.Wrap != nil {
		drivers[localInfra] = s.cfg.Wrap(driver)
	}
	maps.Copy(drivers, s.cfg.Drivers)
	s.manager = cluster.New(cluster.Config{
		Store: s.store, Stacks: s.stacks, Drivers: drivers, Cache: s.cache, Authority: s.authority,
		AgentAddr: fmt.Sprintf("%s:%d", s.address(), agentPort), API: fmt.Sprintf("http://%s:%d", s.address(), apiPort), OpenPorts: s.cfg.Options.OpenPorts, Sent: h.Sent(), Clients: s.cfg.Clients(s.user), Log: s.log, Crash: s.cfg.Crash,
	})
	if err = s.restrict(ctx); err != nil {
		return errors.Join(err, s.store.Close())
	}
	if err = s.checkPosture(ctx); err != nil {
		return errors.Join(err, s.store.Close())
	}
	if s.token, err = s.ownToken(); err != nil {
		return errors.Join(err, s.store.Close())
	}
	if s.verifier, err = tenant.NewVerifier(s.authority.PEM(), s.refuse); err != nil {
		return errors.Join(err, s.store.Close())
	}
	if s.images, err = imagestore.Open(imagestore.Config{Dir: h.Images()}); err != nil {
		return errors.Join(err, s.store.Close())
	}
	return s.keepOptions()
}

// ownAddresses refuses a home whose nodes have addresses outside of its subnet, which it
// gives back: they are those of another home, whose agents and data they would meet there.
func (s *Server) ownAddresses(ctx context.Context) error {
	var nodes []store.Node
	err := s.store.View(ctx, func(tx *store.Tx) (err error) {
		nodes, err = tx.Nodes("")
		return err
	})
	if err != nil {
		return err
	}
	for _, n := range nodes {
		at, err := netip.ParseAddr(n.Address)
		if n.Infrastructure != localInfra || err != nil || s.subnet.Contains(at) {
			continue
		}
		theirs := netip.PrefixFrom(at, s.subnet.Bits()).Masked()
		return errors.Join(fmt.Errorf("cannot start: the nodes of %s have addresses of %s, and the home was given %s: it is a copy of another home, or lost its file subnet; remove a copy with: howdah --home %s clean; where it is the only one, write %s into %s/subnet",
			s.cfg.Home.Dir, theirs, s.subnet, s.cfg.Home.Dir, theirs, s.cfg.Home.Dir), subnet.Release(ctx, subnet.Config{Home: s.cfg.Home.Dir}))
	}
	return nil
}

// localInfra is the name of the infrastructure whose nodes have addresses of the subnet.
const localInfra = "local"

// local makes the local driver; without a C compiler nodes have no identity of
// their own, and that is said where it matters.
func (s *Server) local(ctx context.Context) (*local.Driver, error) {
	h := s.cfg.Home
	cfg := local.Config{Dir: h.Nodes(), Cache: h.Cache(), Addresses: s.subnet, MemoryMB: s.memoryMB, CPUs: s.cpus, Agent: s.cfg.Agent, Log: s.log}
	var err error
	if cfg.Identity, err = identity.Build(ctx, filepath.Join(h.Cache(), "identity")); err != nil {
		s.log.Warn("nodes have no identity of their own", "error", err)
		cfg.Missing = err.Error()
	}
	return local.New(cfg)
}

func (s *Server) catalog() (*stack.Catalog, error) {
	layers := []stack.Layer{{Name: "stacks", FS: s.cfg.Stacks}}
	for _, dir := range s.cfg.Options.Stacks {
		layers = append(layers, stack.Layer{Name: dir, FS: os.DirFS(dir)})
	}
	c, ds := stack.LoadCatalog(layers...)
	if err := ds.Err(); err != nil {
		return nil, fmt.Errorf("cannot load stacks:\n%w", err)
	}
	return c, nil
}

// address is the first address of the subnet: the server's own.
func (s *Server) address() netip.Addr { return s.subnet.Masked().Addr().Next() }

// ownToken returns the owner's token, made once. It has no end, so that the shared
// posture has none: there the owner is who holds the socket.
func (s *Server) ownToken() (string, error) {
	if s.shared() {
		if err := os.Remove(s.cfg.Home.Token()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("cannot take back the owner's token: %w", err)
		}
		return "", nil
	}
	data, err := os.ReadFile(s.cfg.Home.Token())
	if err == nil && len(data) > 0 {
		return string(data), nil
	}
	token, _ := tenant.NewSecret()
	if err := renameio.WriteFile(s.cfg.Home.Token(), []byte(token), 0o600); err != nil {
		return "", fmt.Errorf("cannot keep token: %w", err)
	}
	return token, nil
}

func (s *Server) keepOptions() error {
	data, err := json.MarshalIndent(s.cfg.Options, "", " ")
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(s.cfg.Home.Settings(), data, 0o600); err != nil {
		return fmt.Errorf("cannot keep settings: %w", err)
	}
	return nil
}

func (s *Server) info() api.Info {
	return api.Info{
		Version: s.cfg.Version, Build: s.cfg.Build, Home: s.cfg.Home.Dir, Posture: s.cfg.Options.posture(), PID: os.Getpid(), Subnet: s.subnet.String(),
		Address: "http://" + netip.AddrPortFrom(s.address(), apiPort).String(), Memory: s.memoryMB, CPUs: s.cpus, User: s.user,
	}
}

// shutdown ends the server after the answer has gone out.
func (s *Server) shutdown() { time.AfterFunc(50*time.Millisecond, s.stop) }

// serve opens the listeners and runs everything until ctx ends.
func (s *Server) serve(ctx context.Context) error {
	unixL, err := listenUnix(s.cfg.Home.Socket())
	if err != nil {
		return err
	}
	tcpL, err := listen(ctx, netip.AddrPortFrom(s.address(), apiPort))
	if err != nil {
		return errors.Join(err, unixL.Close())
	}
	agentL, err := listen(ctx, netip.AddrPortFrom(s.address(), agentPort))
	if err != nil {
		return errors.Join(err, unixL.Close(), tcpL.Close())
	}
	handler := newGate(usual).limited(s.handler())
	servers := []*http.Server{
		s.http(ctx, s.audit.watch(asOwner(s.scoped(handler)))), s.http(ctx, s.audit.watch(s.authenticated(s.scoped(handler)))), s.http(ctx, s.agentHandler()),
	}
	servers[0].ConnContext = withProcess
	servers[2].TLSConfig = tenant.ServerTLS(s.authority, net.IP(s.address().AsSlice()))
	servers[2].Protocols = new(http.Protocols)
	servers[2].Protocols.SetHTTP2(true)
	servers[2].HTTP2 = &http.HTTP2Config{
		SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second,
		// All sessions of an agent together, unread, leave room for its reports.
		MaxReceiveBufferPerStream: 64 << 10, MaxReceiveBufferPerConnection: 4<<20 - 1,
	}
	errs := make(chan error, 4)
	go func() { errs <- servers[0].Serve(unixL) }()
	go func() { errs <- servers[1].Serve(netutil.LimitListener(tcpL, maxConnections)) }()
	go func() { errs <- servers[2].ServeTLS(agentL, "", "") }()
	var web sync.WaitGroup
	defer web.Wait()
	web.Go(func() { s.keepWebListeners(ctx, servers[1].Handler) })
	done := make(chan struct{})
	go func() { defer close(done); errs <- s.manager.Run(ctx) }()
	s.log.Info("serving", "api", s.info().Address, "home", s.cfg.Home.Dir, "version", s.cfg.Version)
	select {
	case <-ctx.Done():
		err = nil
	case err = <-errs:
	}
	s.stop()
	for _, srv := range servers {
		_ = srv.Close()
	}
	<-done
	if errors.Is(err, context.Canceled) || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// http makes a server with limits on slow and large requests.
func (s *Server) http(ctx context.Context, h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), BaseContext: func(net.Listener) context.Context { return ctx },
	}
}

// listen opens a loopback listener; nothing else is offered in this version.
func listen(ctx context.Context, addr netip.AddrPort) (net.Listener, error) {
	if !addr.Addr().IsLoopback() {
		return nil, fmt.Errorf("cannot listen on %s: only loopback addresses are served", addr)
	}
	var l net.Listener
	var err error
	for range 3 { // where nobody has it any more, it was given back meanwhile
		if l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", addr.String()); !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
		if other, ok := sockets.Holder(addr); ok {
			return nil, fmt.Errorf("cannot listen on %s: it is taken by %s", addr, other.Owner())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", addr, err)
	}
	return l, nil
}

func listenUnix(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot protect %s: %w", path, err), l.Close())
	}
	return l, nil
}
