package storm

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"

	"howdah.dev/howdah/internal/adapter/storm/nimbusthrift"
)

func TestVacate(t *testing.T) {
	const host, other = "127.9.30.4", "127.9.30.5"
	supervisor := func(host string, slots, used int32) *nimbusthrift.SupervisorSummary {
		return &nimbusthrift.SupervisorSummary{Host: host, SupervisorID: host, NumWorkers: slots, NumUsedWorkers: used}
	}
	on := func(hosts ...string) (ws []*nimbusthrift.WorkerSummary) {
		for _, h := range hosts {
			ws = append(ws, &nimbusthrift.WorkerSummary{Host: &h})
		}
		return ws
	}
	for name, test := range map[string]struct {
		supervisors []*nimbusthrift.SupervisorSummary
		workers     []*nimbusthrift.WorkerSummary
		status      Status
		left        int
		spread      bool
		err         string
	}{
		"nothing there":              {supervisors: []*nimbusthrift.SupervisorSummary{supervisor(host, 0, 0), supervisor(other, 2, 1)}, workers: on(other)},
		"workers to move":            {supervisors: []*nimbusthrift.SupervisorSummary{supervisor(host, 0, 1), supervisor(other, 2, 1)}, workers: on(host, other), left: 1, spread: true},
		"no supervisor there":        {supervisors: []*nimbusthrift.SupervisorSummary{supervisor(other, 2, 1)}, workers: on(host, other), left: 1, spread: true},
		"slots are still offered":    {supervisors: []*nimbusthrift.SupervisorSummary{supervisor(host, 2, 1), supervisor(other, 2, 1)}, workers: on(host, other), left: 1},
		"spreading already":          {supervisors: []*nimbusthrift.SupervisorSummary{supervisor(host, 0, 1), supervisor(other, 2, 1)}, workers: on(host), status: StatusRebalancing, left: 1},
		"it can shrink elsewhere":    {supervisors: []*nimbusthrift.SupervisorSummary{supervisor(host, 0, 2), supervisor(other, 1, 1)}, workers: on(host, host, other), left: 2, spread: true},
		"no room for all its worker": {supervisors: []*nimbusthrift.SupervisorSummary{supervisor(host, 0, 1), supervisor(other, 2, 2)}, workers: on(host), left: 1, err: "cannot move topology net-lines: no other supervisor has a free slot"},
	} {
		t.Run(name, func(t *testing.T) {
			f := recorded(t)
			f.replies["rebalance"] = reply(t, "rebalance", &nimbusthrift.NimbusRebalanceResult{})
			var cluster nimbusthrift.NimbusGetClusterInfoResult
			reread(t, f.replies["getClusterInfo"], &cluster)
			cluster.Success.Supervisors = test.supervisors
			f.replies["getClusterInfo"] = reply(t, "getClusterInfo", &cluster)
			var page nimbusthrift.NimbusGetTopologyPageInfoResult
			reread(t, f.replies["getTopologyPageInfo"], &page)
			page.Success.Workers = test.workers
			if status := string(test.status); status != "" {
				page.Success.Status = &status
			}
			f.replies["getTopologyPageInfo"] = reply(t, "getTopologyPageInfo", &page)

			left, err := f.client().Vacate(t.Context(), host)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if spread := f.request("rebalance") != nil; left != test.left || spread != test.spread || text != test.err {
				t.Errorf("%d workers are left, spread anew: %v, error %q; want %d, %v, %q", left, spread, text, test.left, test.spread, test.err)
			}
		})
	}
}

// reread reads a recorded reply.
func reread(t *testing.T, file string, into thrift.TStruct) {
	t.Helper()
	frame, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	buf := thrift.NewTMemoryBuffer()
	buf.Write(frame[4:])
	p := thrift.NewTBinaryProtocolConf(buf, nil)
	if _, _, _, err := p.ReadMessageBegin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := into.Read(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

// reply writes a reply as nimbus does, and returns its file, seen from testdata.
func reply(t *testing.T, call string, result thrift.TStruct) string {
	t.Helper()
	buf := thrift.NewTMemoryBuffer()
	p := thrift.NewTBinaryProtocolConf(buf, nil)
	ctx := context.Background()
	if err := p.WriteMessageBegin(ctx, call, thrift.REPLY, 1); err != nil {
		t.Fatal(err)
	}
	if err := result.Write(ctx, p); err != nil {
		t.Fatal(err)
	}
	n := buf.Len()
	frame := append([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, buf.Bytes()...)
	file := filepath.Join(t.TempDir(), call+".reply")
	if err := os.WriteFile(file, frame, 0o600); err != nil {
		t.Fatal(err)
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	rel, err := filepath.Rel(filepath.Join(wd, "testdata"), file)
	if err != nil {
		t.Fatal(err)
	}
	return rel
}
