package harness

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"howdah.dev/howdah/api"
)

// Up starts the server of a home, with further flags.
func (h *Home) Up(flags ...string) string {
	h.t.Helper()
	return h.OK(append([]string{"up"}, flags...)...)
}

// Apply applies a definition and waits for its end.
func (h *Home) Apply(name, definition string) string {
	h.t.Helper()
	return h.OK("apply", "--yes", "-f", h.Write(name+".yaml", definition))
}

// Begin applies a definition and returns the number of its operation at once.
func (h *Home) Begin(name, definition string) int64 {
	h.t.Helper()
	a := JSON[api.Applied](h, "apply", "--yes", "--no-wait", "-f", h.Write(name+".yaml", definition))
	if len(a.Operations) != 1 {
		h.t.Fatalf("applying %s started %d operations, want 1", name, len(a.Operations))
	}
	return a.Operations[0].ID
}

// Cluster is a cluster as it is.
func (h *Home) Cluster(name string) api.ClusterStatus {
	h.t.Helper()
	return JSON[api.ClusterStatus](h, "describe", name)
}

// Service is one service of the home, by its node's name and its own.
func (h *Home) Service(cluster, node, service string) api.ServiceStatus {
	h.t.Helper()
	for _, s := range JSON[[]api.ServiceStatus](h, "get", "services", cluster) {
		if s.Node == node && s.Name == service {
			return s
		}
	}
	h.t.Fatalf("cluster %s has no service %s on %s", cluster, service, node)
	return api.ServiceStatus{}
}

// PIDs are the processes of a cluster's services, by node/service.
func (h *Home) PIDs(cluster string) map[string]int {
	h.t.Helper()
	out := map[string]int{}
	for _, s := range JSON[[]api.ServiceStatus](h, "get", "services", cluster) {
		out[s.Node+"/"+s.Name] = s.PID
	}
	return out
}

// Operation is an operation with its steps.
func (h *Home) Operation(id int64) api.Operation {
	h.t.Helper()
	return JSON[api.Operation](h, "op", "get", fmt.Sprint(id))
}

// Operations are the operations of a cluster, newest first.
func (h *Home) Operations(cluster string) []api.Operation {
	h.t.Helper()
	return JSON[[]api.Operation](h, "op", "list", cluster)
}

// Ready waits until clusters are ready.
func (h *Home) Ready(most time.Duration, clusters ...string) {
	h.t.Helper()
	for _, name := range clusters {
		Within(h.t, most, "cluster "+name+" is ready", func() (bool, string) {
			c := h.Cluster(name)
			return c.State == "ready", c.State + ": " + c.Message
		})
	}
}

// Done waits until an operation is done.
func (h *Home) Done(most time.Duration, id int64) api.Operation {
	h.t.Helper()
	var o api.Operation
	Within(h.t, most, fmt.Sprintf("operation %d is done", id), func() (bool, string) {
		o = h.Operation(id)
		if o.State.Final() && o.State != api.OperationDone || o.State == api.OperationFailed {
			h.t.Fatalf("operation %d is %s: %s", id, o.State, steps(o))
		}
		return o.State == api.OperationDone, string(o.State) + ": " + steps(o)
	})
	return o
}

func steps(o api.Operation) string {
	var out []string
	for _, s := range o.Steps {
		if s.State != api.StepDone && s.State != api.StepTodo {
			out = append(out, fmt.Sprintf("%s %s %s%s", s.Title, s.State, s.Waiting, s.Error))
		}
	}
	return o.Reason + strings.Join(out, "; ")
}

// HDFS runs the file system shell of a warehouse and returns what it prints.
func (h *Home) HDFS(cluster string, args ...string) string {
	h.t.Helper()
	return h.OK(append([]string{"run", cluster, "--", "hdfs", "dfs"}, args...)...)
}

// Put writes a file into a warehouse.
func (h *Home) Put(cluster, path, content string) {
	h.t.Helper()
	h.OKInput(content, "run", cluster, "--", "hdfs", "dfs", "-put", "-f", "-", path)
}

// AtStep returns as soon as a step of the kind has begun in an operation, and
// how far it was. It asks every few milliseconds.
func (h *Home) AtStep(most time.Duration, id int64, kind string) api.StepState {
	h.t.Helper()
	cl := h.API()
	most = patience(most)
	deadline := time.Now().Add(most)
	state := api.StepState("absent")
	for time.Now().Before(deadline) {
		o, err := cl.Operation(h.t.Context(), id)
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		var began []api.StepState
		for _, s := range o.Steps {
			if s.Kind != kind {
				continue
			}
			state = s.State
			if s.State == api.StepDoing || s.State == api.StepWaiting {
				return s.State
			}
			if s.State == api.StepDone {
				began = append(began, s.State)
			}
		}
		if len(began) > 0 { // it was too quick to be seen
			return api.StepDone
		}
		time.Sleep(2 * time.Millisecond)
	}
	h.t.Fatalf("after %s no step %s of operation %d has begun; it is %s", most, kind, id, state)
	return ""
}

// UpBeside starts "howdah up" and returns when the server answers; the command
// goes on beside the test, following what is under way. The function returned
// waits for its end and returns its output.
func (h *Home) UpBeside() (wait func() string) {
	h.t.Helper()
	cmd := h.Command("up")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	cl := h.API()
	Within(h.t, time.Minute, "the server answers", func() (bool, string) {
		_, err := cl.Info(h.t.Context())
		select {
		case <-ended:
			if err != nil && cmd.ProcessState.ExitCode() != 0 {
				h.t.Fatalf("howdah up: exit code %d, and no server:\n%s", cmd.ProcessState.ExitCode(), out.String())
			}
		default:
		}
		return err == nil, fmt.Sprint(err)
	})
	return func() string {
		<-ended
		return out.String()
	}
}

// Events counts events of a cluster by type.
func (h *Home) Events(cluster string) map[string]int {
	h.t.Helper()
	out := map[string]int{}
	cl := h.API()
	es, err := cl.History(h.t.Context(), cluster, 5000)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range es {
		out[e.Type]++
	}
	return out
}
