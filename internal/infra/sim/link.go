package sim

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"howdah.dev/howdah/internal/agentapi"
)

// header names the node a request on a shared connection comes from.
const header = "howdah-sim-node"

// Identify tells which node a request on a shared connection comes from. It
// takes the header's word for it, so it is for a server in the same memory
// only; a server on a network goes by certificates.
func Identify(r *http.Request) (node string, ok bool) {
	node = r.Header.Get(header)
	return node, node != ""
}

// carrier carries requests to the server: the wire that many agents share, or
// an HTTP client of one agent.
type carrier interface {
	post(ctx context.Context, path, node, contentType string, body []byte) (status int, answer []byte, err error)
	// open sends a request whose answer comes in pieces until ctx ends. data
	// returns what it has not used of what came; ended is called once.
	open(ctx context.Context, path, node, contentType string, body []byte, data func([]byte) []byte, ended func(status int, rest []byte, err error))
}

// Media types of the Connect protocol, connectrpc.com/docs/protocol.
const (
	typeUnary  = "application/json"
	typeStream = "application/connect+json"
	// An enveloped message has a byte of flags and its length before it.
	envelope = 5
	flagEnd  = 2
)

// refusal is how the Connect protocol tells of an error.
type refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (r refusal) Error() string { return r.Code + ": " + r.Message }

// call asks the server something.
func call(ctx context.Context, c carrier, path, node string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	status, answer, err := c.post(ctx, path, node, typeUnary, body)
	if err != nil {
		return err
	}
	if status == http.StatusOK {
		return json.Unmarshal(answer, out)
	}
	return refused(status, answer)
}

func refused(status int, answer []byte) error {
	var r refusal
	if json.Unmarshal(answer, &r) == nil && r.Code != "" {
		return r
	}
	return fmt.Errorf("the server answers %d: %s", status, bytes.TrimSpace(answer))
}

// watch opens the stream of assignments; ended is called once, when it ends.
func watch(ctx context.Context, c carrier, r *agentapi.WatchRequest, on func(*agentapi.WatchEvent), ended func(error)) {
	msg, err := json.Marshal(r)
	if err != nil {
		ended(err)
		return
	}
	body := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(msg))), msg...) //nolint:gosec // small
	var last error
	take := func(buf []byte) []byte {
		for len(buf) >= envelope && len(buf)-envelope >= int(binary.BigEndian.Uint32(buf[1:])) {
			n := envelope + int(binary.BigEndian.Uint32(buf[1:]))
			flags, msg := buf[0], buf[envelope:n]
			buf = buf[n:]
			if flags&flagEnd != 0 {
				var end struct {
					Error *refusal `json:"error"`
				}
				if last = json.Unmarshal(msg, &end); last == nil && end.Error != nil {
					last = end.Error
				}
				continue
			}
			var ev agentapi.WatchEvent
			if err := json.Unmarshal(msg, &ev); err != nil {
				last = err
				continue
			}
			on(&ev)
		}
		return buf
	}
	c.open(ctx, agentapi.PathWatch, r.Node, typeStream, body, take, func(status int, rest []byte, err error) {
		switch {
		case err != nil:
		case status != http.StatusOK:
			err = refused(status, rest)
		default:
			err = last
		}
		ended(errors.Join(errors.New("the stream ended"), err))
	})
}

// shared is a place for a connection that agents share.
type shared struct {
	cloud  *Cloud
	server string
	agents int // that use it; guarded by the cloud's lock

	mu      sync.Mutex
	wire    *wire
	closed  bool
	dialing chan struct{} // not nil while one agent dials for all; closed when it has
}

// share returns a place with room for one more agent.
func (c *Cloud) share(server string) *shared {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.links {
		if l.server == server && l.agents < c.cfg.Agents.Shared {
			l.agents++
			return l
		}
	}
	l := &shared{cloud: c, server: server, agents: 1}
	c.links = append(c.links, l)
	return l
}

// release gives an agent's share back.
func (l *shared) release() {
	l.cloud.mu.Lock()
	defer l.cloud.mu.Unlock()
	l.agents--
}

// connect returns the connection, made if need be.
func (l *shared) connect(ctx context.Context) (*wire, error) {
	for {
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return nil, net.ErrClosed
		}
		if w := l.wire; w != nil {
			select {
			case <-w.dead:
				l.wire = nil
			default:
				l.mu.Unlock()
				return w, nil
			}
		}
		if wait := l.dialing; wait != nil {
			l.mu.Unlock()
			select {
			case <-wait:
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
			continue
		}
		done := make(chan struct{})
		l.dialing = done
		l.mu.Unlock()
		w, err := l.dial(ctx)
		l.mu.Lock()
		l.wire, l.dialing = w, nil
		if w != nil && l.closed {
			w.conn.Close()
		}
		l.mu.Unlock()
		close(done)
		if err != nil {
			return nil, err
		}
	}
}

func (l *shared) dial(ctx context.Context) (*wire, error) {
	conn, err := l.cloud.cfg.Dial(ctx, "tcp", l.server)
	if err != nil {
		return nil, err
	}
	w, err := newWire(conn)
	if err != nil {
		conn.Close()
		return nil, err
	}
	l.cloud.wg.Go(w.listen) // the agent that dials is counted
	return w, nil
}

func (l *shared) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.wire != nil {
		l.wire.conn.Close()
	}
}

// connect gives an agent its connection to the server, and the node an
// identity where it has none yet. release is called when the agent is done
// with it.
func (a *agent) connect(ctx context.Context) (c carrier, release func(), err error) {
	a.m.mu.Lock()
	file, joined := a.m.join, a.m.joined
	a.m.mu.Unlock()
	var join agentapi.JoinFile
	if err := json.Unmarshal(file, &join); err != nil {
		return nil, nil, fmt.Errorf("cannot read the join file: %w", err)
	}
	if a.cloud.cfg.Agents.TLS {
		return a.connectAlone(ctx, join, joined)
	}
	l := a.cloud.share(join.Server)
	w, err := l.connect(ctx)
	if err == nil && !joined {
		err = call(ctx, w, agentapi.PathJoin, "", &agentapi.JoinRequest{Node: join.Node, Token: join.Token, CSR: a.cloud.csr}, new(agentapi.JoinResponse))
	}
	if err != nil {
		l.release()
		return nil, nil, err
	}
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	a.m.joined = true
	return w, l.release, nil
}

// alone is a connection of one agent with TLS.
type alone struct {
	cloud  *Cloud
	client *http.Client
	base   string

	mu     sync.Mutex
	conns  []net.Conn // what was dialled
	closed bool
}

func (c *Cloud) newAlone(server string, cfg *tls.Config) *alone {
	l := &alone{cloud: c, base: "https://" + server}
	p := new(http.Protocols)
	p.SetHTTP2(true)
	l.client = &http.Client{Transport: &http.Transport{DialContext: l.dial, Protocols: p, TLSClientConfig: cfg, TLSHandshakeTimeout: 10 * time.Second, DisableCompression: true}}
	return l
}

// dial keeps what it dials, so that close ends it whatever the HTTP client
// still does with it.
func (l *alone) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := l.cloud.cfg.Dial(ctx, network, address)
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

func (l *alone) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, c := range l.conns {
		c.Close()
	}
	l.client.CloseIdleConnections()
}

func (l *alone) do(ctx context.Context, path, contentType string, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, l.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Connect-Protocol-Version", "1")
	return l.client.Do(r)
}

func (l *alone) post(ctx context.Context, path, _, contentType string, body []byte) (int, []byte, error) {
	r, err := l.do(ctx, path, contentType, body)
	if err != nil {
		return 0, nil, err
	}
	defer r.Body.Close()
	answer, err := io.ReadAll(r.Body)
	return r.StatusCode, answer, err
}

func (l *alone) open(ctx context.Context, path, _, contentType string, body []byte, data func([]byte) []byte, ended func(int, []byte, error)) {
	l.cloud.wg.Go(func() { // the agent is counted
		r, err := l.do(ctx, path, contentType, body)
		if err != nil {
			ended(0, nil, err)
			return
		}
		defer r.Body.Close()
		var rest []byte
		chunk := make([]byte, 4096)
		for {
			n, err := r.Body.Read(chunk)
			rest = data(append(rest, chunk[:n]...))
			if errors.Is(err, io.EOF) {
				ended(r.StatusCode, rest, nil)
				return
			}
			if err != nil {
				ended(r.StatusCode, rest, err)
				return
			}
		}
	})
}

// connectAlone connects with the node's own certificate.
func (a *agent) connectAlone(ctx context.Context, join agentapi.JoinFile, joined bool) (carrier, func(), error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(join.CA)) {
		return nil, nil, errors.New("cannot use the server's CA: it is no certificate")
	}
	cfg := &tls.Config{RootCAs: pool, ServerName: agentapi.ServerName, MinVersion: tls.VersionTLS13}
	if !joined {
		key, csr, err := newKey()
		if err != nil {
			return nil, nil, err
		}
		l := a.cloud.newAlone(join.Server, cfg.Clone())
		defer l.close()
		var r agentapi.JoinResponse
		if err := call(ctx, l, agentapi.PathJoin, "", &agentapi.JoinRequest{Node: join.Node, Token: join.Token, CSR: csr}, &r); err != nil {
			return nil, nil, err
		}
		a.m.mu.Lock()
		a.m.joined, a.m.key, a.m.cert = true, key, [][]byte{r.Certificate}
		a.m.mu.Unlock()
	}
	a.m.mu.Lock()
	cfg.Certificates = []tls.Certificate{{Certificate: a.m.cert, PrivateKey: a.m.key}}
	a.m.mu.Unlock()
	l := a.cloud.newAlone(join.Server, cfg)
	return l, l.close, nil
}
