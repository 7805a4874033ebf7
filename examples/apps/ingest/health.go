package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// lostAfter is how long the warehouse may not answer before we say so.
const lostAfter = 10 * time.Second

// health is what we tell of ourselves.
type health struct {
	mu     sync.Mutex
	report report
	lost   time.Time // since when the warehouse does not answer
	reason string
}

// report is the body of GET /health.
type report struct {
	State   string `json:"state"` // reading, working, waiting, complete
	Parts   int    `json:"parts"` // that are in the dataset
	Of      int    `json:"of"`
	Written int    `json:"written"` // by this instance
	Error   string `json:"error,omitempty"`
}

func (h *health) set(state string, parts, of int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.report.State, h.report.Parts, h.report.Of = state, parts, of
}

func (h *health) wrote() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.report.Written++
}

// answered notes how a request to the warehouse went.
func (h *health) answered(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil:
		h.lost = time.Time{}
	case h.lost.IsZero():
		h.lost = time.Now()
		fallthrough
	default:
		h.reason = err.Error()
	}
}

func (h *health) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	h.mu.Lock()
	r, lost := h.report, h.lost
	if !lost.IsZero() {
		r.Error = h.reason
	}
	h.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if !lost.IsZero() && time.Since(lost) > lostAfter {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(r)
}

// serve answers GET /health on a port, on the loopback address and on that of
// the host where it is ours: in a container only the first is, and a plain
// command may find the first taken by a neighbour.
func (h *health) serve(ctx context.Context, host, port string, log *slog.Logger) (stop func(), err error) {
	if port == "" {
		return func() {}, nil
	}
	mux := http.NewServeMux()
	mux.Handle("GET /health", h)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	addresses := []string{"127.0.0.1"}
	if a, err := netip.ParseAddr(host); err == nil && host != addresses[0] && !a.IsUnspecified() {
		addresses = append(addresses, host)
	}
	var errs []error
	for _, address := range addresses {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(address, port))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		log.Info("health is served", "address", l.Addr().String())
		go s.Serve(l) //nolint:errcheck // ends with stop
	}
	if len(errs) == len(addresses) {
		return nil, errors.Join(errs...)
	}
	return func() { s.Close() }, nil
}
