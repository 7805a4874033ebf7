package stack

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var webPath = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*(/[a-z0-9][a-z0-9.-]*)*$`)

// web checks one web API.
func (c *checker) web(path string) {
	w := c.s.Web[path]
	at := c.root.At("web", path)
	if !webPath.MatchString(path) {
		c.errorf(at, "small letters, digits, dots and hyphens, in parts with slashes between", "path %q cannot be served", path)
	}
	for _, other := range sortedKeys(c.s.Web) {
		if strings.HasPrefix(path, other+"/") {
			c.errorf(at, "give one of them another path", "web API %s lies below %s", path, other)
		}
	}
	if w.Adapter == "" {
		c.errorf(at.At("adapter"), "name the protocol client that serves it", "web API %s has no adapter", path)
	}
	c.template(&w.Address, c.s.clusterEnv())
	c.s.Web[path] = w
	if l := w.Listen; l != nil && c.oneOf(at.At("listen", "role"), "role", l.Role, sortedKeys(c.s.Roles)) {
		if svc := c.s.PortOf([]string{l.Role}, l.Port); svc != "" {
			c.errorf(at.At("listen", "port"), "choose a port that is free at its nodes", "service %s of role %s listens on %d already", svc, l.Role, l.Port)
		}
	}
}

// PortOf names the service that has a port on a node with the roles; "" where
// none has.
func (s *Stack) PortOf(roles []string, port int) string {
	for _, role := range roles {
		for _, svc := range s.Roles[role].Services {
			for _, p := range s.Services[svc].Ports {
				if p == port {
					return svc
				}
			}
		}
	}
	return ""
}

// WebAt finds the web API that a path belongs to.
func (s *Stack) WebAt(path string) (string, bool) {
	for _, p := range sortedKeys(s.Web) {
		if path == p || strings.HasPrefix(path, p+"/") {
			return p, true
		}
	}
	return "", false
}

// Web evaluates where a web API's protocol client finds the cluster.
func (r *Renderer) Web(path string) (Bound, error) {
	w, ok := r.stack.Web[path]
	if !ok {
		return Bound{}, fmt.Errorf("stack %s offers no web API at %s", r.stack.Name, path)
	}
	e := &evaluator{vars: r.cluster}
	b := Bound{Adapter: w.Adapter, Address: e.text(w.Address)}
	return b, e.err
}

// Listening is a place where the server offers a web API for reading.
type Listening struct {
	API  string // its path among the stack's
	Port int
	Path string // it begins at
	// Taken is the service of the node that has the port; "" where it is free.
	Taken string
}

// Listenings are the places at the address of a node with the roles.
func (s *Stack) Listenings(roles []string) []Listening {
	var out []Listening
	for _, path := range sortedKeys(s.Web) {
		if l := s.Web[path].Listen; l != nil && slices.Contains(roles, l.Role) {
			out = append(out, Listening{path, l.Port, l.Path, s.PortOf(roles, l.Port)})
		}
	}
	return out
}
