package process

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// guard refuses what a foreign page may have made a browser send: requests from
// another site, and those under a name that is none of ours, which leads here because
// that site says so. All programs of a cell listen behind it.
func guard(h http.Handler, address string, names ...string) http.Handler {
	foreign := http.NewCrossOriginProtection()
	own, _, _ := net.SplitHostPort(address)
	names = append(names, own, "localhost")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case alive(r): // says only that somebody listens, to load balancers by any name
		case foreign.Check(r) != nil:
			forbid(w, "The request comes from another site's page.")
			return
		case !known(r.Host, names):
			forbid(w, "Use the own address of this program, http://"+address+".")
			return
		}
		h.ServeHTTP(w, r)
	})
}

func alive(r *http.Request) bool {
	path := strings.TrimRight(r.URL.Path, "/")
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && slices.Contains([]string{"/ping", "/health", "/master/health"}, path)
}

// known tells whether the host of a request is one of the names, or loopback.
func known(host string, names []string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	if slices.ContainsFunc(names, func(n string) bool { return n != "" && strings.EqualFold(n, name) }) {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.IsLoopback()
}

// forbid answers as the scheduler's API does.
func forbid(w http.ResponseWriter, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusForbidden)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message})
}
