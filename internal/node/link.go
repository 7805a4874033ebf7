package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"github.com/google/renameio/v2"

	"howdah.dev/howdah/internal/agentapi"
)

// heartbeat is how often a report goes out when nothing changes.
const heartbeat = 5 * time.Second

// link is the agent's one connection to the server.
type link struct {
	agent       *Agent
	identity    identity
	instance    string
	base        string
	http        *http.Client
	incarnation atomic.Int64
	sequence    int64
	online      atomic.Bool

	watch  *connect.Client[agentapi.WatchRequest, agentapi.WatchEvent]
	report *connect.Client[agentapi.Report, agentapi.ReportResponse]
	ask    *connect.Client[agentapi.PermitRequest, agentapi.PermitResponse]
}

// identity is who the node is to the server; kept beside its key.
type identity struct {
	Node   string `json:"node"`
	Server string `json:"server"`
	CA     string `json:"ca"`
}

const (
	fileIdentity = "identity.json"
	fileKey      = "key.pem"
	fileCert     = "cert.pem"
)

// newLink prepares the connection. Without an identity yet, the node's id is
// read from the join file; joining itself waits for run.
func newLink(a *Agent) (*link, error) {
	l := &link{agent: a}
	buf := make([]byte, 16)
	if _, err := rand.Read(buf); err != nil {
		return nil, err
	}
	l.instance = hex.EncodeToString(buf)
	switch err := readJSON(a.path(dirAgent, fileIdentity), &l.identity); {
	case err == nil:
		return l, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	var join agentapi.JoinFile
	if err := readJSON(a.path(fileJoin), &join); err != nil {
		return nil, fmt.Errorf("cannot join: no identity and no join file: %w", err)
	}
	l.identity = identity{Node: join.Node, Server: join.Server, CA: join.CA}
	return l, nil
}

func (l *link) node() string { return l.identity.Node }

// run keeps the connection until ctx ends or the agent is fenced.
func (l *link) run(ctx context.Context) error {
	pause, refused := 200*time.Millisecond, ""
	for {
		err := l.session(ctx)
		l.online.Store(false)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrFenced):
			return err
		}
		if text := err.Error(); connect.CodeOf(err) == connect.CodeFailedPrecondition || errors.Is(err, agentapi.ErrProtocol) {
			if text != refused { // it is asked again every few seconds
				l.agent.log.Error("the server refuses this agent", "error", err)
			}
			refused = text
		}
		l.agent.log.Debug("no connection to the server", "error", err, "again", pause)
		if !sleep(ctx, pause) {
			return context.Cause(ctx)
		}
		pause = min(2*pause, 3*time.Second)
	}
}

// session joins if needed, connects, and serves the stream until it breaks.
func (l *link) session(ctx context.Context) error {
	if err := l.join(ctx); err != nil {
		return err
	}
	if l.http == nil {
		if err := l.connect(); err != nil {
			return err
		}
	}
	defer l.http.CloseIdleConnections()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := l.watch.CallServerStream(ctx, connect.NewRequest(&agentapi.WatchRequest{
		Node: l.identity.Node, Instance: l.instance, Facts: l.agent.facts(ctx),
	}))
	if err != nil {
		return err
	}
	defer stream.Close()
	reporting := false
	for stream.Receive() {
		ev := stream.Msg()
		switch {
		case ev.Fenced:
			return ErrFenced
		case ev.Incarnation != 0:
			if err := agentapi.CheckServer(ev.Protocol); err != nil {
				return err
			}
			l.incarnation.Store(ev.Incarnation)
			l.online.Store(true)
			if !reporting {
				reporting = true
				done := make(chan struct{})
				defer func() { cancel(); <-done }()
				go func() { defer close(done); l.reports(ctx, cancel) }()
			}
		case ev.Assignment != nil:
			if err := l.agent.take(l.agent.life, ev.Assignment); err != nil {
				return err
			}
		case ev.Session != nil:
			d, r := dialler{l.http, l.base}, *ev.Session
			l.agent.wg.Go(func() { l.agent.session(l.agent.life, d, r) })
		}
	}
	return errors.Join(errors.New("the stream ended"), stream.Err())
}

// reports sends what is observed: soon after a change, else as a heartbeat.
func (l *link) reports(ctx context.Context, broken context.CancelFunc) {
	for {
		t := time.NewTimer(heartbeat)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-l.agent.reports:
			t.Stop()
			sleep(ctx, 30*time.Millisecond) // changes come in groups
		case <-t.C:
		}
		r := l.agent.report()
		if r.Node == "" {
			continue
		}
		l.sequence++
		r.Incarnation, r.Sequence = l.incarnation.Load(), l.sequence
		rctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		sent := time.Now()
		resp, err := l.report.CallUnary(rctx, connect.NewRequest(&r))
		cancel()
		if err == nil {
			l.agent.vitals.compare(resp.Header().Get("Date"), time.Now(), time.Since(sent))
		}
		if err != nil || resp.Msg.Fenced {
			l.agent.changed()
			broken()
			return
		}
	}
}

// permit asks whether a cluster-wide one-time task may run here.
func (l *link) permit(ctx context.Context, task string) (agentapi.PermitResponse, error) {
	if !l.online.Load() {
		return agentapi.PermitResponse{}, errors.New("no connection to the server")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := l.ask.CallUnary(ctx, connect.NewRequest(&agentapi.PermitRequest{Node: l.identity.Node, Task: task}))
	if err != nil {
		return agentapi.PermitResponse{}, err
	}
	return *r.Msg, nil
}

// FetchBlob reads a blob from the server, from an offset on.
func (l *link) FetchBlob(ctx context.Context, sum string, offset int64) (io.ReadCloser, error) {
	if !l.online.Load() || l.http == nil {
		return nil, errors.New("no connection to the server")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.base+agentapi.PathBlob+sum, nil)
	if err != nil {
		return nil, err
	}
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := l.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		defer resp.Body.Close()
		return nil, fmt.Errorf("cannot fetch %s: the server answers %s", sum, resp.Status)
	}
	return resp.Body, nil
}

// join gets an identity for a one-time token, unless the node has one.
func (l *link) join(ctx context.Context) error {
	if _, err := os.Stat(l.agent.path(dirAgent, fileIdentity)); err == nil {
		return nil
	}
	var join agentapi.JoinFile
	if err := readJSON(l.agent.path(fileJoin), &join); err != nil {
		return fmt.Errorf("cannot join: %w", err)
	}
	l.identity = identity{Node: join.Node, Server: join.Server, CA: join.CA}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return err
	}
	pool, err := l.pool()
	if err != nil {
		return err
	}
	hc := client(&tls.Config{RootCAs: pool, ServerName: agentapi.ServerName, MinVersion: tls.VersionTLS13})
	defer hc.CloseIdleConnections()
	c := connect.NewClient[agentapi.JoinRequest, agentapi.JoinResponse](hc, "https://"+join.Server+agentapi.PathJoin, connect.WithCodec(agentapi.Codec{}))
	r, err := c.CallUnary(ctx, connect.NewRequest(&agentapi.JoinRequest{Node: join.Node, Token: join.Token, CSR: csr, Protocol: agentapi.Protocol}))
	if err != nil {
		return fmt.Errorf("cannot join: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	l.identity.CA = string(r.Msg.CA)
	for _, f := range []struct {
		name, kind string
		der        []byte
	}{{fileKey, "PRIVATE KEY", der}, {fileCert, "CERTIFICATE", r.Msg.Certificate}} {
		if err := renameio.WriteFile(l.agent.path(dirAgent, f.name), pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der}), 0o600); err != nil {
			return fmt.Errorf("cannot keep identity: %w", err)
		}
	}
	if err := writeJSON(l.agent.path(dirAgent, fileIdentity), l.identity); err != nil {
		return fmt.Errorf("cannot keep identity: %w", err)
	}
	return os.Remove(l.agent.path(fileJoin)) // the token is used up
}

func (l *link) pool() (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(l.identity.CA)) {
		return nil, errors.New("cannot use the server's CA: it is no certificate")
	}
	return pool, nil
}

// connect prepares clients with the node's certificate.
func (l *link) connect() error {
	pool, err := l.pool()
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(l.agent.path(dirAgent, fileCert), l.agent.path(dirAgent, fileKey))
	if err != nil {
		return fmt.Errorf("cannot use the node's certificate: %w", err)
	}
	l.http = client(&tls.Config{RootCAs: pool, ServerName: agentapi.ServerName, MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}})
	l.base = "https://" + l.identity.Server
	codec := connect.WithCodec(agentapi.Codec{})
	l.watch = connect.NewClient[agentapi.WatchRequest, agentapi.WatchEvent](l.http, l.base+agentapi.PathWatch, codec)
	l.report = connect.NewClient[agentapi.Report, agentapi.ReportResponse](l.http, l.base+agentapi.PathReport, codec)
	l.ask = connect.NewClient[agentapi.PermitRequest, agentapi.PermitResponse](l.http, l.base+agentapi.PathPermit, codec)
	return nil
}

// client makes an HTTP/2 client that notices a dead peer.
func client(cfg *tls.Config) *http.Client {
	p := new(http.Protocols)
	p.SetHTTP2(true)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: cfg, Protocols: p, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 5 * time.Second, Proxy: nil,
		HTTP2: &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
	}}
}
