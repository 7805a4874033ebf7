package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// tries is how many DataNodes are tried when one cannot be connected to.
	tries = 3
	// liveFor is how long the list of live DataNodes is believed.
	liveFor = 5 * time.Second
	maxLive = 16 << 20 // bytes of that list
)

// dataNode asks the NameNode which DataNode serves a call, and returns where,
// once it is sure that it is a DataNode and the same call.
func (g *Gateway) dataNode(ctx context.Context, c *call, excluded []string) (*url.URL, error) {
	var extra url.Values
	if len(excluded) > 0 {
		extra = url.Values{"excludedatanodes": {strings.Join(excluded, ",")}}
	}
	resp, err := g.ask(ctx, c, extra)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusTemporaryRedirect {
		return nil, broken("the warehouse named no DataNode for %s", c.name)
	}
	target, err := resp.Location()
	if err != nil {
		return nil, broken("the warehouse named no DataNode for %s", c.name)
	}
	if err := g.vet(ctx, target, c); err != nil {
		return nil, err
	}
	return target, nil
}

// vet refuses to follow a redirect to anything that is no DataNode of the
// warehouse, or to another path or operation than was permitted.
func (g *Gateway) vet(ctx context.Context, target *url.URL, c *call) error {
	q := target.Query()
	switch {
	case target.Scheme != "http" && target.Scheme != "https", target.User != nil:
		return broken("the warehouse redirected to an address that is not HTTP")
	case target.Path != prefix+c.path.String(), !strings.EqualFold(q.Get("op"), c.name), q.Get("user.name") != c.user:
		return broken("the warehouse redirected to another path or operation than was asked")
	}
	list := g.cfg.DataNodes
	if list == nil {
		list = g.liveDataNodes
	}
	all, err := list(ctx)
	if err != nil {
		return retriable(http.StatusServiceUnavailable, "the warehouse's DataNodes are not known; try again")
	}
	host := strings.ToLower(target.Host)
	if !slices.ContainsFunc(all, func(d string) bool { return strings.ToLower(d) == host }) || neverDataNode(target.Hostname()) {
		g.cfg.Log.Warn("redirect to a foreign address refused", "address", target.Host)
		return broken("the warehouse redirected to an address that is none of its DataNodes")
	}
	return nil
}

// neverDataNode names addresses that no warehouse has: a list of DataNodes that
// holds one was tampered with.
func neverDataNode(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && (a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified())
}

// liveNodes remembers the DataNodes the NameNode last said are live.
type liveNodes struct {
	mu    sync.Mutex
	at    time.Time
	nodes []string
}

// liveDataNodes asks the NameNode, at most every few seconds.
func (g *Gateway) liveDataNodes(ctx context.Context) ([]string, error) {
	l := &g.live
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.at) < liveFor {
		return l.nodes, nil
	}
	var errs []error
	for _, address := range g.nameNodes() {
		nodes, err := g.askLive(ctx, address)
		if err == nil && len(nodes) > 0 {
			l.at, l.nodes = time.Now(), nodes
			return nodes, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("cannot list DataNodes: %w", errors.Join(errs...))
}

func (g *Gateway) askLive(ctx context.Context, address string) ([]string, error) {
	base, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	target := url.URL{Scheme: base.Scheme, Host: base.Host, Path: "/jmx", RawQuery: "qry=Hadoop:service=NameNode,name=NameNodeInfo"}
	resp, err := g.send(ctx, http.MethodGet, &target, nil, 0)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Beans []struct{ LiveNodes string } `json:"beans"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxLive)).Decode(&answer); err != nil {
		return nil, err
	}
	var nodes []string
	for _, bean := range answer.Beans {
		var live map[string]struct {
			InfoAddr       string `json:"infoAddr"`
			InfoSecureAddr string `json:"infoSecureAddr"`
		}
		if err := json.Unmarshal([]byte(bean.LiveNodes), &live); err != nil {
			return nil, err
		}
		for _, n := range live {
			nodes = append(nodes, n.InfoAddr, n.InfoSecureAddr)
		}
	}
	return slices.DeleteFunc(nodes, func(s string) bool { return s == "" }), nil
}
