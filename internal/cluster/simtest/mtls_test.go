package simtest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/cluster/simtest"
	"howdah.dev/howdah/internal/infra/sim"
)

// spy notes the TCP connections agents make.
type spy struct {
	mu    sync.Mutex
	conns int
}

func (s *spy) dial(ctx context.Context, network, address string) (net.Conn, error) {
	s.mu.Lock()
	s.conns++
	s.mu.Unlock()
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// TestMutualTLS: a hundred nodes, each with a connection, a key and a
// certificate of its own that it got for its token, are made, more and fewer,
// and deleted. No node can speak for another, and nobody without a certificate.
func TestMutualTLS(t *testing.T) {
	s := new(spy)
	w := simtest.New(t, simtest.Config{Sim: sim.Config{Dial: s.dial, Agents: sim.Agents{TLS: true}}})
	w.Apply(toy(99))
	ready(t, w, 100)
	serials, keys := map[string]bool{}, map[string]bool{}
	for _, n := range w.Cloud.Nodes() {
		own, ok := w.Cloud.Certificate(n.Key)
		if !ok {
			t.Fatalf("%s has no certificate", n.Name)
		}
		cert, err := x509.ParseCertificate(own.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		if len(cert.URIs) != 1 || cert.URIs[0].String() != "howdah://node/"+n.Key {
			t.Errorf("the certificate of %s is of %v", n.Name, cert.URIs)
		}
		serials[cert.SerialNumber.String()], keys[string(cert.RawSubjectPublicKeyInfo)] = true, true
	}
	if len(serials) != 100 || len(keys) != 100 {
		t.Errorf("100 nodes have %d certificates and %d keys", len(serials), len(keys))
	}
	if s.conns < 200 { // one to join, one to stay
		t.Errorf("100 nodes made %d connections", s.conns)
	}
	impostor(t, w)

	w.Apply(toy(104))
	ready(t, w, 105)
	w.Apply(toy(94))
	ready(t, w, 95)
	w.Delete("c")
	check(t, w.Cloud, map[sim.What]int{sim.Made: 105, sim.Removed: 105})
	if left := w.Cloud.Nodes(); len(left) > 0 {
		t.Errorf("left: %+v", left)
	}
}

// ready checks that every node of the cluster is connected and ready.
func ready(t *testing.T, w *simtest.T, want int) {
	t.Helper()
	st := w.Get("c")
	if st.State != "ready" || len(st.Nodes) != want {
		t.Errorf("it is %s with %d nodes, want %d: %s", st.State, len(st.Nodes), want, st.Message)
	}
	for _, n := range st.Nodes {
		if n.State != "ready" || !n.Connected {
			t.Errorf("%s is %s (connected: %v): %s", n.Name, n.State, n.Connected, n.Message)
		}
	}
}

// impostor speaks with one node's certificate for another, and with none.
func impostor(t *testing.T, w *simtest.T) {
	t.Helper()
	a, b := w.Cloud.Nodes()[0], w.Cloud.Nodes()[1]
	own, ok := w.Cloud.Certificate(a.Key)
	if !ok {
		t.Fatalf("%s has no certificate", a.Name)
	}
	for name, tt := range map[string]struct {
		certs []tls.Certificate
		node  string
		want  string
	}{
		"its own":            {[]tls.Certificate{own}, a.Key, ""},
		"another's":          {[]tls.Certificate{own}, b.Key, "permission_denied: the certificate is of node " + a.Key + ", not " + b.Key},
		"a name in a header": {nil, a.Key, "unauthenticated"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			p := new(http.Protocols)
			p.SetHTTP2(true)
			tr := &http.Transport{Protocols: p, TLSClientConfig: &tls.Config{
				RootCAs: w.Authority().Pool(), ServerName: agentapi.ServerName, MinVersion: tls.VersionTLS13, Certificates: tt.certs,
			}}
			defer tr.CloseIdleConnections()
			hc := &http.Client{Transport: tr, Timeout: 30 * time.Second}
			c := connect.NewClient[agentapi.PermitRequest, agentapi.PermitResponse](hc, "https://"+w.Address()+agentapi.PathPermit, connect.WithCodec(agentapi.Codec{}))
			r := connect.NewRequest(&agentapi.PermitRequest{Node: tt.node, Task: "headd/format"})
			r.Header().Set("howdah-sim-node", tt.node)
			_, err := c.CallUnary(t.Context(), r)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if tt.want == "" && err != nil || !strings.Contains(got, tt.want) {
				t.Errorf("answer %q, want %q", got, tt.want)
			}
		})
	}
}
