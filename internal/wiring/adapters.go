// Package wiring is the one table of protocol clients: it binds the adapters
// stacks name to the packages that speak the protocols. Nothing else names
// them.
package wiring

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/adapter/storm"
	"howdah.dev/howdah/internal/adapter/yarn"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/probe"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
)

// Probes are the protocol clients agents ask through.
func Probes() map[string]probe.Adapter {
	return map[string]probe.Adapter{"storm": stormCheck}
}

// Workloads are the protocol clients the server asks through.
func Workloads(user string) cluster.Clients {
	return cluster.Clients{"yarn": yarnJobs{user}, "storm": stormTopologies{}}
}

// Webs are the web APIs the server offers for clusters.
func Webs() map[string]func(at stack.Bound) http.Handler {
	return map[string]func(at stack.Bound) http.Handler{
		"storm": func(at stack.Bound) http.Handler {
			return storm.New(storm.Config{Addresses: []string{at.Address}}).Web()
		},
	}
}

// stormCheck answers leader, supervisors and "topology NAME"; "vacate HOST" and
// "kill NAME" also act.
func stormCheck(ctx context.Context, address, check string) (any, error) {
	c := storm.New(storm.Config{Addresses: []string{address}})
	verb, name, _ := strings.Cut(check, " ")
	switch verb {
	case "leader":
		n, err := c.Leader(ctx)
		return map[string]any{"host": n.Host}, err
	case "supervisors":
		cl, err := c.Cluster(ctx)
		hosts := make([]any, len(cl.Supervisors))
		for i, s := range cl.Supervisors {
			hosts[i] = s.Host
		}
		return map[string]any{"hosts": hosts}, err
	case "vacate", "workers": // clusters made with an earlier stack say workers
		left, err := c.Vacate(ctx, name)
		return map[string]any{"count": left}, err
	case "topology":
		t, err := c.Topology(ctx, name, storm.AllTime)
		return map[string]any{"status": string(t.Status), "acked": t.Counts.Acked}, err
	case "kill":
		return map[string]any{}, c.Kill(ctx, name, 0)
	}
	return nil, fmt.Errorf("cannot answer %q", check)
}

// yarnJobs are a ResourceManager's applications.
type yarnJobs struct{ user string }

func (y yarnJobs) client(at stack.Bound) *yarn.Client {
	return yarn.New(yarn.Config{Address: at.Address, History: at.Extra["history"], User: y.user})
}

func (y yarnJobs) List(ctx context.Context, at stack.Bound) ([]api.Workload, error) {
	jobs, err := y.client(at).Jobs(ctx)
	out := make([]api.Workload, len(jobs))
	for i, j := range jobs {
		out[i] = job(j, at)
	}
	return out, typed(err)
}

func (y yarnJobs) Get(ctx context.Context, at stack.Bound, id string) (api.Workload, error) {
	j, err := y.client(at).Job(ctx, id)
	return job(j, at), typed(err)
}

func (y yarnJobs) Kill(ctx context.Context, at stack.Bound, id string) error {
	return typed(y.client(at).Kill(ctx, id))
}

// stormTopologies are a nimbus's topologies.
type stormTopologies struct{}

func (stormTopologies) client(at stack.Bound) *storm.Client {
	return storm.New(storm.Config{Addresses: []string{at.Address}})
}

func (s stormTopologies) List(ctx context.Context, at stack.Bound) ([]api.Workload, error) {
	cl, err := s.client(at).Cluster(ctx)
	var out []api.Workload
	for _, t := range cl.Topologies {
		out = append(out, api.Workload{ID: t.Name, Name: t.Name, State: strings.ToLower(string(t.Status))})
	}
	return out, err
}

func (s stormTopologies) Get(ctx context.Context, at stack.Bound, id string) (api.Workload, error) {
	t, err := s.client(at).Topology(ctx, id, storm.AllTime)
	if err != nil {
		return api.Workload{}, typed(err)
	}
	n := t.Counts
	return api.Workload{ID: t.Name, Name: t.Name, State: strings.ToLower(string(t.Status)), Message: lastError(t), Figures: map[string]int64{
		"workers": int64(len(t.Workers)), "executors": int64(t.Executors), "emitted": n.Emitted, "acked": n.Acked, "failed": n.Failed,
	}}, nil
}

func (s stormTopologies) Kill(ctx context.Context, at stack.Bound, id string) error {
	return typed(s.client(at).Kill(ctx, id, 0))
}

func (s stormTopologies) Rebalance(ctx context.Context, at stack.Bound, id string, r api.Rebalance) error {
	return typed(s.client(at).Rebalance(ctx, id, storm.Options{Wait: time.Duration(r.WaitSeconds) * time.Second, Workers: r.Workers, Executors: r.Executors}))
}

// BuildJar puts a topology's jar together.
func (stormTopologies) BuildJar(w io.Writer, base, user []byte, resources, files map[string][]byte) error {
	in := storm.Inputs{Resources: resources, Files: files}
	var err error
	if in.Flux, err = zip.NewReader(bytes.NewReader(base), int64(len(base))); err != nil {
		return fmt.Errorf("cannot read the base jar: %w", err)
	}
	if user != nil {
		if in.User, err = zip.NewReader(bytes.NewReader(user), int64(len(user))); err != nil {
			return fmt.Errorf("cannot read the uploaded jar: %w", err)
		}
	}
	return storm.BuildTopologyJar(w, in)
}

// typed gives the protocol clients' errors the kinds the server knows.
func typed(err error) error {
	switch {
	case errors.Is(err, storm.ErrNotFound), errors.Is(err, yarn.ErrNotFound):
		return fmt.Errorf("%w: %w", store.ErrNotFound, err)
	case errors.Is(err, storm.ErrInvalid):
		return fmt.Errorf("%w: %w", cluster.ErrInvalid, err)
	case errors.Is(err, storm.ErrUnreachable), errors.Is(err, storm.ErrNotLeader), errors.Is(err, yarn.ErrUnreachable):
		return fmt.Errorf("%w: %w", cluster.ErrBusy, err)
	}
	return err
}

// lastError is the newest error of a topology's components.
func lastError(t storm.Topology) string {
	var last *storm.ComponentError
	for _, c := range t.Components {
		if c.LastError != nil && (last == nil || c.LastError.At.After(last.At)) {
			last = c.LastError
		}
	}
	if last == nil {
		return ""
	}
	line, _, _ := strings.Cut(last.Message, "\n")
	return fmt.Sprintf("%s (%s)", line, last.At.Format(time.RFC3339))
}

// job describes an application.
func job(j yarn.Job, at stack.Bound) api.Workload {
	w := api.Workload{ID: j.ID, Name: j.Name, State: strings.ToLower(string(j.State)), Final: j.State.Final(), URL: pageOf(j.TrackingURL, at.Address)}
	w.Failed = w.Final && j.Outcome != "SUCCEEDED"
	if w.Final {
		w.State = strings.ToLower(j.Outcome)
	}
	if w.Failed {
		w.Message = strings.TrimSpace(j.Diagnostics)
	}
	if !j.Started.IsZero() {
		w.Started = &j.Started
	}
	if !j.Finished.IsZero() {
		w.Finished = &j.Finished
	}
	w.Figures = map[string]int64{"containers": int64(j.Containers), "memoryMB": j.MemoryMB}
	if j.MapReduce != nil {
		w.Progress = map[string]float64{"map": j.MapReduce.Maps.Percent, "reduce": j.MapReduce.Reduces.Percent}
	}
	return w
}

// pageOf puts the address the cluster really has where the ResourceManager
// calls itself localhost.
func pageOf(tracking, address string) string {
	u, err := url.Parse(tracking)
	if err != nil || u.Hostname() != "localhost" {
		return tracking
	}
	at, err := url.Parse(address)
	if err != nil {
		return tracking
	}
	u.Host = at.Host
	return u.String()
}
