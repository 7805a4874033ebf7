package local_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/infra/infratest"
	"howdah.dev/howdah/internal/infra/local"
	"howdah.dev/howdah/internal/node/proc"
)

// TestConformance runs the contract with agents that only hold their lock.
func TestConformance(t *testing.T) {
	infratest.Run(t, infratest.Harness{New: func(t *testing.T, trouble infratest.Trouble) *infratest.Site {
		agent := []string{os.Args[0], "agent"}
		switch trouble {
		case infratest.NeverBoots:
			agent = []string{"true"}
		case infratest.None:
		default:
			return nil // this host asks nobody and refuses nothing
		}
		dir := filepath.Join(t.TempDir(), "nodes")
		d, err := local.New(local.Config{
			Dir: dir, Cache: "/cache", Addresses: netip.MustParsePrefix("127.9.0.0/24"), MemoryMB: 1000, CPUs: 2, Agent: agent, Identity: "/cache/identity.so",
		})
		if err != nil {
			t.Fatal(err)
		}
		return siteOf(t, d, dir)
	}})
}

func siteOf(t *testing.T, d *local.Driver, dir string) *infratest.Site {
	t.Helper()
	at := func(ref infra.Ref, elem ...string) string {
		return filepath.Join(append([]string{dir, ref.Cluster, ref.Name}, elem...)...)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { must(local.End(context.Background(), dir)) })
	return &infratest.Site{
		Driver: d,
		Node: func(i int) infra.CreateRequest {
			key := fmt.Sprintf("%s-%d-%d", strings.ReplaceAll(t.Name(), "/", "-"), os.Getpid(), i)
			return infra.CreateRequest{
				Ref:     infra.Ref{Key: key, Cluster: "c", Name: fmt.Sprintf("c-worker-%d", i)},
				Address: fmt.Sprintf("127.9.0.%d", 10+i), MemoryMB: 100, CPUs: 1, Join: []byte(`{"token":"` + infratest.Secret + `"}`),
			}
		},
		Agents: func(ref infra.Ref) int {
			all, err := proc.List(ref.Key)
			must(err)
			if len(all) != 1 {
				return len(all)
			}
			// One that does not hold its lock yet does not run yet.
			f, err := os.OpenFile(at(ref, "agent", "lock"), os.O_RDWR, 0)
			if err != nil {
				return 0
			}
			defer f.Close()
			if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil {
				return 0
			}
			return 1
		},
		Occupy: func(ref infra.Ref) { must(os.MkdirAll(at(ref, "precious"), 0o755)) },
		Things: func() (out []string) {
			for _, pattern := range []string{"*", "*/*", "*/*/node.json"} {
				found, err := filepath.Glob(filepath.Join(dir, pattern))
				must(err)
				for _, f := range found {
					data, _ := os.ReadFile(f)
					out = append(out, f+" "+string(data))
				}
			}
			return out
		},
		Write: func(ref infra.Ref) { must(os.MkdirAll(at(ref, "svc", "data"), 0o755)) },
		Data: func(ref infra.Ref) bool {
			_, err := os.Stat(at(ref, "svc", "data"))
			return err == nil
		},
		CutShort: func(call string, r infra.CreateRequest) {
			if call == "create" { // the claim was not written yet
				must(os.MkdirAll(filepath.Join(dir, r.Cluster, ".making-"+r.Key), 0o755))
				return
			}
			// Half of the directory is gone.
			must(d.Power(context.Background(), r.Ref, false))
			must(os.Rename(at(r.Ref), filepath.Join(dir, r.Cluster, ".deleting-"+r.Key)))
			must(os.Remove(filepath.Join(dir, r.Cluster, ".deleting-"+r.Key, "node.json")))
		},
	}
}
