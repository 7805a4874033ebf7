package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
)

// WorkloadClient asks a running program about what users run on it.
type WorkloadClient interface {
	List(ctx context.Context, at stack.Bound) ([]api.Workload, error)
	Get(ctx context.Context, at stack.Bound, id string) (api.Workload, error)
	Kill(ctx context.Context, at stack.Bound, id string) error
}

// Rebalancer is a workload client that can spread a running workload anew.
type Rebalancer interface {
	Rebalance(ctx context.Context, at stack.Bound, id string, r api.Rebalance) error
}

// JarBuilder is a workload client that puts a jar together: a base, the user's
// jar, which may be nil, and files the workload carries with it.
type JarBuilder interface {
	BuildJar(w io.Writer, base, user []byte, resources, files map[string][]byte) error
}

// Clients are the workload clients by adapter name.
type Clients map[string]WorkloadClient

// ErrUnsupported is returned for what a kind of cluster cannot do.
var ErrUnsupported = errors.New("not supported")

// bound finds the client of a cluster's workload and where it asks. The error is
// ErrBusy where the cluster is stopped.
func (m *Manager) bound(ctx context.Context, cluster, kind string) (WorkloadClient, stack.Bound, error) {
	var b stack.Bound
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		c, r, _, err := m.renderer(tx, cluster)
		if err != nil {
			return err
		}
		b, err = r.Workload(kind)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnsupported, err)
		}
		return wantedRunning(c)
	})
	if err != nil {
		return nil, b, err
	}
	c, ok := m.cfg.Clients[b.Adapter]
	if !ok {
		return nil, b, fmt.Errorf("%w: this howdah has no protocol client %s", ErrUnsupported, b.Adapter)
	}
	return c, b, nil
}

// renderer returns a cluster's newest revision, ready to render.
func (m *Manager) renderer(tx *store.Tx, cluster string) (store.Cluster, *stack.Renderer, *stack.Stack, error) {
	c, err := tx.Cluster(cluster)
	if err != nil {
		return c, nil, nil, err
	}
	if c.Revision == 0 {
		return c, nil, nil, fmt.Errorf("%w: cluster %s has no nodes yet", store.ErrNotFound, cluster)
	}
	rev, s, err := m.revision(tx, c.ID, c.Revision)
	if err != nil {
		return c, nil, nil, err
	}
	return c, m.rendererOf(rev, s, nil), s, nil
}

// Submit has a node of the cluster submit a workload. The answer's id is the
// submission's until the program has given one.
func (m *Manager) Submit(ctx context.Context, cluster, kind string, sub api.Submission) (api.Workload, error) {
	client, _, err := m.bound(ctx, cluster, kind)
	if err != nil {
		return api.Workload{}, err
	}
	id := strings.ToLower(ulid.Make().String())
	var out api.Workload
	jar, err := m.jar(ctx, client, cluster, kind, sub)
	if err != nil {
		return out, err
	}
	err = m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		c, r, s, err := m.renderer(tx, cluster)
		if err != nil {
			return err
		}
		n, host, err := m.firstOf(tx, c, s.Workloads[kind].On)
		if err != nil {
			return err
		}
		dir := filepath.Join(host.Dir, "tasks", id)
		say := stack.Submission{Name: sub.Name, Main: sub.Main, Args: sub.Args, Jar: filepath.Join(dir, "workload.jar")}
		blobs := []agentapi.TaskBlob{{Path: say.Jar, Blob: jar}}
		if sub.File != "" {
			say.File = filepath.Join(dir, "definition.yaml")
			blobs = append(blobs, agentapi.TaskBlob{Path: say.File, Blob: sub.File})
		}
		say.Properties = filepath.Join(dir, "workload.properties")
		task, err := r.SubmitTask(kind, n.Name, *host, id, dir, say)
		if err != nil {
			return err
		}
		task.Blobs = blobs
		task.Files = append(task.Files, agentapi.File{Path: say.Properties, Content: stack.Properties(sub.Properties)})
		out = api.Workload{ID: id, Kind: kind, Name: sub.Name, Cluster: cluster, State: "submitting"}
		if err := tx.PutTask(store.Task{
			ID: id, Cluster: c.ID, Node: n.ID, Kind: kind, Name: sub.Name, Task: *task, State: agentapi.TaskTodo,
			Status: agentapi.TaskStatus{ID: id, State: agentapi.TaskTodo}, Created: tx.Now(),
		}); err != nil {
			return err
		}
		return tx.Event(api.Event{Type: kind + ".submitted", Cluster: cluster, Node: n.Name, Message: kind + " " + sub.Name + " submitted"})
	})
	return out, err
}

// firstOf returns the first running node with a role.
func (m *Manager) firstOf(tx *store.Tx, c store.Cluster, role string) (store.Node, *stack.Host, error) {
	var rev stack.Revision
	if err := tx.Revision(c.ID, c.Revision, &rev); err != nil {
		return store.Node{}, nil, err
	}
	for _, mem := range rev.Members {
		if !slices.Contains(mem.Roles, role) {
			continue
		}
		n, err := tx.Node(mem.ID)
		if err != nil {
			return n, nil, err
		}
		if h := m.hostOf(n); h != nil && running(n.Intent) {
			return n, h, nil
		}
	}
	return store.Node{}, nil, fmt.Errorf("%w: no running node of %s has role %s", ErrBusy, c.Name, role)
}

// jar returns the blob of the jar to submit: the user's own, the stack's, or
// one put together of both and what the workload carries with it.
func (m *Manager) jar(ctx context.Context, client WorkloadClient, cluster, kind string, sub api.Submission) (string, error) {
	var base string
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		_, _, s, err := m.renderer(tx, cluster)
		if err == nil && s.Workloads[kind].Jar != nil {
			base, err = baseBlob(s, s.Workloads[kind].Jar.Base)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	switch {
	case len(sub.Resources)+len(sub.Files) == 0 && sub.Jar != "" && sub.File == "":
		return sub.Jar, nil
	case len(sub.Resources)+len(sub.Files) == 0 && sub.Jar == "" && base != "":
		return base, nil
	case base == "":
		return "", fmt.Errorf("%w: a %s needs a jar", ErrInvalid, kind)
	}
	builder, ok := client.(JarBuilder)
	if !ok {
		return "", fmt.Errorf("%w: a %s on %s carries no resources", ErrUnsupported, kind, cluster)
	}
	baseData, err := m.readBlob(base)
	if err != nil {
		return "", err
	}
	var user []byte
	if sub.Jar != "" {
		if user, err = m.readBlob(sub.Jar); err != nil {
			return "", err
		}
	}
	resources, err := m.readBlobs(sub.Resources)
	if err != nil {
		return "", err
	}
	files, err := m.readBlobs(sub.Files)
	if err != nil {
		return "", err
	}
	var buf bytes.Buffer
	if err := builder.BuildJar(&buf, baseData, user, resources, files); err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return m.putBlob(buf.Bytes())
}

// maxJar bounds the parts of a jar that are put together in memory.
const maxJar = 512 << 20

func (m *Manager) readBlob(sum string) ([]byte, error) {
	f, err := m.cfg.Cache.Open(sum)
	if err != nil {
		return nil, fmt.Errorf("%w: no uploaded file %s", ErrInvalid, sum)
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxJar))
}

func (m *Manager) readBlobs(sums map[string]string) (map[string][]byte, error) {
	out := map[string][]byte{}
	for name, sum := range sums {
		data, err := m.readBlob(sum)
		if err != nil {
			return nil, err
		}
		out[name] = data
	}
	return out, nil
}

// baseBlob returns the digest of a file of an artifact set, as SET/PATH.
func baseBlob(s *stack.Stack, ref string) (string, error) {
	set, path, _ := strings.Cut(ref, "/")
	if l := s.Lock(set); l != nil {
		for _, e := range l.Entries {
			if e.Path == path {
				return e.SHA256, nil
			}
		}
	}
	return "", fmt.Errorf("artifact set %s has no %s", set, path)
}

// makeJars gives a task the base jars it names.
func (m *Manager) makeJars(t *agentapi.Task, s *stack.Stack, jars map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(jars)) {
		sum, err := baseBlob(s, jars[name])
		if err != nil {
			return err
		}
		t.Blobs = append(t.Blobs, agentapi.TaskBlob{Path: filepath.Join(t.Dir, name), Blob: sum})
	}
	return nil
}

// Workload returns one workload, by the program's id, its name, or the id of
// its submission.
func (m *Manager) Workload(ctx context.Context, cluster, kind, id string) (api.Workload, error) {
	client, b, err := m.bound(ctx, cluster, kind)
	if err != nil {
		return api.Workload{}, err
	}
	var sub *store.Task
	err = m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		c, err := tx.Cluster(cluster)
		if err != nil {
			return err
		}
		t, err := tx.Task(id)
		if err == nil && t.Kind == kind && t.Cluster == c.ID {
			sub = &t
		}
		return nil //nolint:nilerr // it may be the program's own id
	})
	if err != nil {
		return api.Workload{}, err
	}
	if sub == nil {
		w, err := client.Get(ctx, b, id)
		w.Kind, w.Cluster = kind, cluster
		return w, err
	}
	return m.submitted(ctx, client, b, cluster, kind, *sub)
}

// submitted joins what the submission and the program say.
func (m *Manager) submitted(ctx context.Context, client WorkloadClient, b stack.Bound, cluster, kind string, t store.Task) (api.Workload, error) {
	w := api.Workload{ID: t.ID, Kind: kind, Name: t.Name, Cluster: cluster, State: "submitting"}
	id := t.Status.Value
	if id == "" && t.Task.Steps[0].Capture == "" && t.State == agentapi.TaskDone {
		id = t.Name
	}
	if id == "" {
		if t.State == agentapi.TaskFailed {
			w.State, w.Final, w.Failed, w.Message = "failed", true, true, t.Status.Message
			if t.Status.Output != "" {
				w.Message += "\n" + t.Status.Output
			}
		}
		return w, nil
	}
	got, err := client.Get(ctx, b, id)
	if err != nil {
		return w, err
	}
	got.Kind, got.Cluster = kind, cluster
	if t.State == agentapi.TaskFailed && !got.Final {
		got.Message = "the submitting program ended: " + t.Status.Message
	}
	return got, nil
}

// Workloads lists what runs and ran, and submissions that failed.
func (m *Manager) Workloads(ctx context.Context, cluster, kind string) ([]api.Workload, error) {
	client, b, err := m.bound(ctx, cluster, kind)
	if err != nil {
		return nil, err
	}
	ws, err := client.List(ctx, b)
	if err != nil {
		return nil, err
	}
	for i := range ws {
		ws[i].Kind, ws[i].Cluster = kind, cluster
	}
	var tasks []store.Task
	err = m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		c, err := tx.Cluster(cluster)
		if err == nil {
			tasks, err = tx.Tasks(c.ID, kind)
		}
		return err
	})
	for _, t := range tasks {
		if t.Status.Value == "" && t.State != agentapi.TaskDone {
			w, _ := m.submitted(ctx, client, b, cluster, kind, t)
			ws = append(ws, w)
		}
	}
	return ws, err
}

// KillWorkload ends a workload.
func (m *Manager) KillWorkload(ctx context.Context, cluster, kind, id string) error {
	client, b, err := m.bound(ctx, cluster, kind)
	if err != nil {
		return err
	}
	w, err := m.Workload(ctx, cluster, kind, id)
	if err != nil {
		return err
	}
	if w.State == "submitting" {
		return m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			t, err := tx.Task(id)
			if err != nil {
				return err
			}
			t.Task.Cancel = true
			return tx.PutTask(t)
		})
	}
	return client.Kill(ctx, b, w.ID)
}

// RebalanceWorkload spreads a running workload anew.
func (m *Manager) RebalanceWorkload(ctx context.Context, cluster, kind, id string, r api.Rebalance) error {
	client, b, err := m.bound(ctx, cluster, kind)
	if err != nil {
		return err
	}
	rb, ok := client.(Rebalancer)
	if !ok {
		return fmt.Errorf("%w: a %s on %s cannot be rebalanced", ErrUnsupported, kind, cluster)
	}
	w, err := m.Workload(ctx, cluster, kind, id)
	if err != nil {
		return err
	}
	return rb.Rebalance(ctx, b, w.ID, r)
}

// WorkloadLogs returns the client command that prints a workload's logs.
func (m *Manager) WorkloadLogs(ctx context.Context, cluster, kind, id string) ([]string, error) {
	w, err := m.Workload(ctx, cluster, kind, id)
	if err != nil {
		return nil, err
	}
	var argv []string
	err = m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		_, r, _, err := m.renderer(tx, cluster)
		if err == nil {
			argv, err = r.WorkloadLogs(kind, w.ID)
		}
		return err
	})
	if err != nil && len(argv) == 0 && !errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return argv, err
}
