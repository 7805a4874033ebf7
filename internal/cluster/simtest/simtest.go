// Package simtest runs a cluster manager over a simulated infrastructure, for
// tests and measurements of what is above it. The server's side is the real
// one: store, engine, handler of agents. It must not be part of a program that
// is shipped.
//
//	w := simtest.New(t, simtest.Config{})
//	w.Apply("name: c\nstack: toy\n")
//	w.Delete("c")
//	if wrong := sim.Twice(w.Cloud.Effects()); len(wrong) > 0 { t.Error(wrong) }
package simtest

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentserver"
	"howdah.dev/howdah/internal/artifact"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/golden"
	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/infra/sim"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/tenant"
)

// Toy is a stack whose services need no artifacts: a head, and workers that
// may come and go. The head formats its data once per cluster.
const Toy = `
-- toy/stack.yaml --
name: toy
summary: a toy
version: "1"
java: {min: 17}
artifacts: {}
links: {peer: {exports: [addr]}}
roles:
  head: {services: [headd], memoryMB: 100, removable: {when: "false", message: the head stays}}
  worker: {services: [workd], memoryMB: 100}
services:
  headd:
    dirs: {data: {keep: true}}
    command: [headd]
    init:
      - {name: format, scope: cluster, command: [headd, format], evidence: "${dir.data}/VERSION", wipe: "${dir.data}"}
    ready: {message: headd answers, tcp: "${self.ip}:70", max: 10s}
    files:
      a.conf: {format: properties, user: toy/a}
  workd:
    command: [workd, "${role.head[0].ip}"]
    ready: {message: workd answers, tcp: "${self.ip}:71", max: 10s}
    files:
      b.conf: {format: properties, user: toy/b}
exports: {addr: "${role.head[0].ip}:70"}
smoke: {on: head, steps: [{title: try it, command: ["true"]}]}
default: {nodeGroups: [{name: head, roles: [head], instanceNum: 1}, {name: worker, roles: [worker], instanceNum: 2}]}
`

// Config is what a world is made of; the zero value is a toy stack on an
// infrastructure where everything works at once.
type Config struct {
	Sim    sim.Config // Dial is filled in
	Stacks string     // txtar of stacks; Toy by default
	Layers []stack.Layer
	Dir    string // of the database, the certificates and the artifacts; New fills it in
	// Infrastructure is the name definitions know the infrastructure by; "local",
	// which is what they mean without a name, by default.
	Infrastructure string
	// Wrap, where set, puts something between the manager and the infrastructure.
	Wrap func(infra.Driver) infra.Driver
	// Dialled, where set, is called when an agent opens a connection in memory.
	Dialled func()
	Crash   func(point string) // see op.Config
	Log     *slog.Logger
}

// World is a manager over a simulated infrastructure.
type World struct {
	Cloud   *sim.Cloud
	Manager *cluster.Manager // of the server that runs now
	Store   *store.Store     // its database

	cfg       Config
	network   sim.Network
	address   string
	stacks    *stack.Catalog
	authority *tenant.Authority
	stop      func() error
}

// agentAddress is where agents find the server in memory.
const agentAddress = "server:7443"

// Open makes a world and starts its server.
func Open(cfg Config) (*World, error) {
	cfg.Infrastructure = cmp.Or(cfg.Infrastructure, "local")
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	w := &World{cfg: cfg, address: agentAddress}
	layers := append([]stack.Layer{{Name: "simtest", FS: golden.Parse(cmp.Or(cfg.Stacks, Toy)).FS()}}, cfg.Layers...)
	var err error
	if w.stacks, err = catalog(layers); err != nil {
		return nil, err
	}
	if w.authority, err = tenant.OpenAuthority(filepath.Join(cfg.Dir, "ca")); err != nil {
		return nil, err
	}
	if cfg.Sim.Dial == nil {
		cfg.Sim.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if cfg.Dialled != nil {
				cfg.Dialled()
			}
			return w.network.Dial(ctx, network, address)
		}
		if cfg.Sim.Agents.TLS {
			cfg.Sim.Dial = (&net.Dialer{}).DialContext
		}
	}
	if w.Cloud, err = sim.New(cfg.Sim); err != nil {
		return nil, err
	}
	if err := w.Start(); err != nil {
		w.Cloud.Close()
		return nil, err
	}
	return w, nil
}

func catalog(layers []stack.Layer) (*stack.Catalog, error) {
	c, ds := stack.LoadCatalog(layers...)
	return c, ds.Err()
}

// Start starts the server; the database and the infrastructure are as they
// were left.
func (w *World) Start() error {
	listener, config, err := w.listen()
	if err != nil {
		return err
	}
	w.Store, err = store.Open(context.Background(), store.Config{Path: filepath.Join(w.cfg.Dir, "db"), Log: w.cfg.Log})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	var driver infra.Driver = w.Cloud
	if w.cfg.Wrap != nil {
		driver = w.cfg.Wrap(driver)
	}
	w.Manager = cluster.New(cluster.Config{
		Store: w.Store, Stacks: w.stacks, Drivers: map[string]infra.Driver{w.cfg.Infrastructure: driver},
		Cache:     artifact.New(artifact.Config{Dir: filepath.Join(w.cfg.Dir, "artifacts")}),
		Authority: w.authority, AgentAddr: w.address, Log: w.cfg.Log, Crash: w.cfg.Crash,
	})
	ctx, cancel := context.WithCancel(context.Background())
	server := w.server(ctx, config)
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.Manager.Run(ctx) })
	wg.Go(func() {
		if config != nil {
			_ = server.ServeTLS(listener, "", "")
		} else {
			_ = server.Serve(listener)
		}
	})
	st := w.Store
	w.stop = sync.OnceValue(func() error {
		cancel()
		err := server.Close()
		wg.Wait()
		return errors.Join(err, st.Close())
	})
	return nil
}

// listen opens the place agents connect to: in memory, or with TLS on loopback.
func (w *World) listen() (net.Listener, *tls.Config, error) {
	if !w.cfg.Sim.Agents.TLS {
		l, err := w.network.Listen(w.address)
		return l, nil, err
	}
	if w.address == agentAddress {
		w.address = "127.0.0.1:0"
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", w.address)
	if err != nil {
		return nil, nil, err
	}
	w.address = l.Addr().String()
	cert, err := w.authority.Server(net.IPv4(127, 0, 0, 1))
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	return l, &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: w.authority.Pool(), MinVersion: tls.VersionTLS13}, nil
}

// server serves agents: by their certificates, or in memory by their word.
func (w *World) server(ctx context.Context, config *tls.Config) *http.Server {
	identify := byWord
	p := new(http.Protocols)
	if config != nil {
		identify = agentserver.ByCertificate(w.authority)
		p.SetHTTP2(true)
	} else {
		p.SetUnencryptedHTTP2(true)
	}
	return &http.Server{
		Handler: agentserver.New(agentserver.Config{Manager: w.Manager, Identify: identify}), TLSConfig: config, Protocols: p,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog: slog.NewLogLogger(w.cfg.Log.Handler(), slog.LevelDebug),
	}
}

// byWord takes the node a request names: in memory nobody else can ask.
func byWord(r *http.Request) (tenant.Peer, error) {
	node, ok := sim.Identify(r)
	if !ok {
		return tenant.Peer{}, tenant.ErrCertificate
	}
	return tenant.Peer{Node: node}, nil
}

// maxStreams lets all agents of a connection watch and report at once.
const maxStreams = 1000

// Authority is the installation's certificate authority.
func (w *World) Authority() *tenant.Authority { return w.authority }

// Address is where agents connect to the server.
func (w *World) Address() string { return w.address }

// Stop ends the server as a kill does; the infrastructure and its agents go on.
func (w *World) Stop() error { return w.stop() }

// Close ends everything.
func (w *World) Close() error {
	err := w.Stop()
	w.Cloud.Close()
	return err
}

// Apply applies a definition and returns the operations it began.
func (w *World) Apply(ctx context.Context, definition string) ([]api.Operation, error) {
	ops, _, ds, err := w.Manager.Apply(ctx, api.File{Name: "cluster.yaml", Content: definition})
	if err == nil {
		err = ds.Err()
	}
	return ops, err
}

// Wait waits until an operation is over or has failed, and returns it.
func (w *World) Wait(ctx context.Context, id int64) (api.Operation, error) {
	sub := w.Store.Subscribe(store.TopicOperations)
	defer sub.Close()
	for {
		// One row; the steps are read once, at the end.
		var state api.OperationState
		err := w.Store.View(ctx, func(tx *store.Tx) error {
			o, err := tx.Operation(id)
			state = o.State
			return err
		})
		if err != nil {
			return api.Operation{}, err
		}
		if state.Final() || state == api.OperationFailed {
			return w.Manager.Operation(ctx, id)
		}
		select {
		case <-ctx.Done():
			o, err := w.Manager.Operation(context.WithoutCancel(ctx), id)
			return o, errors.Join(fmt.Errorf("operation %d is %s: %w", id, o.State, context.Cause(ctx)), err)
		case <-sub.C:
		}
	}
}

// Done waits until operations are done; an error says what became of the first
// that is not.
func (w *World) Done(ctx context.Context, ops ...api.Operation) error {
	for _, o := range ops {
		got, err := w.Wait(ctx, o.ID)
		if err != nil {
			return err
		}
		if got.State != api.OperationDone {
			return fmt.Errorf("operation %d (%s of %s) is %s: %s", got.ID, got.Kind, got.Cluster, got.State, got.Reason)
		}
	}
	return nil
}
