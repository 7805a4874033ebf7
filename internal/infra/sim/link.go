package sim

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	"howdah.dev/howdah/internal/agentapi"
)

// header names the node a request on a shared connection comes from.
const header = "Howdah-Sim-Node"

// Identify tells which node a request on a shared connection comes from. It
// takes the header's word for it, so it is for a server in the same memory
// only; a server on a network goes by certificates.
func Identify(r *http.Request) (node string, ok bool) {
	node = r.Header.Get(header)
	return node, node != ""
}

// link is a connection to the server: of one agent, or of many.
type link struct {
	server string
	http   *http.Client
	agents int // that use it

	mu     sync.Mutex
	conns  []net.Conn // what was dialled
	closed bool

	join   *connect.Client[agentapi.JoinRequest, agentapi.JoinResponse]
	watch  *connect.Client[agentapi.WatchRequest, agentapi.WatchEvent]
	report *connect.Client[agentapi.Report, agentapi.ReportResponse]
	permit *connect.Client[agentapi.PermitRequest, agentapi.PermitResponse]
}

// newLink prepares a connection to a server; with cfg it is made with TLS.
func (c *Cloud) newLink(server string, cfg *tls.Config) *link {
	l := &link{server: server}
	p, scheme := new(http.Protocols), "http://"
	t := &http.Transport{DialContext: l.dialer(c.cfg.Dial), Protocols: p, DisableCompression: true}
	if cfg != nil {
		scheme = "https://"
		t.TLSClientConfig, t.TLSHandshakeTimeout = cfg, 10*time.Second
		p.SetHTTP2(true)
	} else {
		p.SetUnencryptedHTTP2(true)
	}
	l.http = &http.Client{Transport: t}
	// Messages stay in this process: compressing them would cost and save nothing.
	opts := connect.WithClientOptions(connect.WithCodec(agentapi.Codec{}), connect.WithAcceptCompression("gzip", nil, nil))
	base := scheme + server
	l.join = connect.NewClient[agentapi.JoinRequest, agentapi.JoinResponse](l.http, base+agentapi.PathJoin, opts)
	l.watch = connect.NewClient[agentapi.WatchRequest, agentapi.WatchEvent](l.http, base+agentapi.PathWatch, opts)
	l.report = connect.NewClient[agentapi.Report, agentapi.ReportResponse](l.http, base+agentapi.PathReport, opts)
	l.permit = connect.NewClient[agentapi.PermitRequest, agentapi.PermitResponse](l.http, base+agentapi.PathPermit, opts)
	return l
}

// dialer dials and keeps what it dialled, so that close can end it whatever
// the HTTP client still does with it.
func (l *link) dialer(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.closed {
			conn.Close()
			return nil, net.ErrClosed
		}
		l.conns = append(l.conns, conn)
		return conn, nil
	}
}

func (l *link) close() {
	l.mu.Lock()
	l.closed = true
	for _, c := range l.conns {
		c.Close()
	}
	l.mu.Unlock()
	l.http.CloseIdleConnections()
}

// shared returns a connection with room for one more agent.
func (c *Cloud) shared(server string) *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.links {
		if l.server == server && l.agents < c.cfg.Agents.Shared {
			l.agents++
			return l
		}
	}
	l := c.newLink(server, nil)
	l.agents = 1
	c.links = append(c.links, l)
	return l
}

// release gives a connection back.
func (c *Cloud) release(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.agents--
}

// request makes a request that says which node it comes from.
func request[T any](node string, msg *T) *connect.Request[T] {
	r := connect.NewRequest(msg)
	r.Header().Set(header, node)
	return r
}

// connect gives an agent its connection to the server, and the node an
// identity where it has none yet.
func (a *agent) connect(ctx context.Context) (*link, error) {
	a.m.mu.Lock()
	file, joined := a.m.join, a.m.joined
	a.m.mu.Unlock()
	var join agentapi.JoinFile
	if err := json.Unmarshal(file, &join); err != nil {
		return nil, fmt.Errorf("cannot read the join file: %w", err)
	}
	if a.cloud.cfg.Agents.TLS {
		return a.connectAlone(ctx, join, joined)
	}
	l := a.cloud.shared(join.Server)
	if joined {
		return l, nil
	}
	if _, err := l.join.CallUnary(ctx, connect.NewRequest(&agentapi.JoinRequest{Node: join.Node, Token: join.Token, CSR: a.cloud.csr})); err != nil {
		a.cloud.release(l)
		return nil, err
	}
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	a.m.joined = true
	return l, nil
}

// connectAlone connects with the node's own certificate.
func (a *agent) connectAlone(ctx context.Context, join agentapi.JoinFile, joined bool) (*link, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(join.CA)) {
		return nil, errors.New("cannot use the server's CA: it is no certificate")
	}
	cfg := &tls.Config{RootCAs: pool, ServerName: agentapi.ServerName, MinVersion: tls.VersionTLS13}
	if !joined {
		key, csr, err := newKey()
		if err != nil {
			return nil, err
		}
		l := a.cloud.newLink(join.Server, cfg)
		defer l.close()
		r, err := l.join.CallUnary(ctx, connect.NewRequest(&agentapi.JoinRequest{Node: join.Node, Token: join.Token, CSR: csr}))
		if err != nil {
			return nil, err
		}
		a.m.mu.Lock()
		a.m.joined, a.m.key, a.m.cert = true, key, [][]byte{r.Msg.Certificate}
		a.m.mu.Unlock()
	}
	a.m.mu.Lock()
	cfg.Certificates = []tls.Certificate{{Certificate: a.m.cert, PrivateKey: a.m.key}}
	a.m.mu.Unlock()
	return a.cloud.newLink(join.Server, cfg), nil
}

// disconnect gives back what connect gave.
func (a *agent) disconnect(l *link) {
	if a.cloud.cfg.Agents.TLS {
		l.close()
		return
	}
	a.cloud.release(l)
}
