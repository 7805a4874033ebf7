package master

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"howdah.dev/howdah/internal/cell/mesos"
)

// BenchmarkLaunch8000 is 200 workers with 8,000 tasks launched over real HTTP,
// each acknowledged, and then all of it read.
func BenchmarkLaunch8000(b *testing.B) {
	const workers, perWorker = 200, 40
	for b.Loop() {
		e := &env{t: b, cfg: config(b.TempDir())}
		stop := e.serve()
		s := e.register(named("f"))
		var dialed sync.WaitGroup
		for i := range workers {
			dialed.Go(func() { e.worker(fmt.Sprintf("w%03d", i), "cpus:64;mem:65536;disk:100000;ports:[31000-32000]") })
		}
		dialed.Wait()
		launched, acked := 0, 0
		for acked < workers*perWorker {
			switch event := <-s.events; event.Type {
			case mesos.EventOffers:
				for _, offer := range event.Offers.Offers {
					if launched >= workers*perWorker {
						continue
					}
					var tasks []mesos.TaskInfo
					first := int(mesos.Resources(offer.Resources).Ranges("ports")[0].Begin)
					for i := range perWorker / 8 {
						port := first + i
						tasks = append(tasks, todo(b, fmt.Sprintf("app_web.instance-%d._app.1", launched), fmt.Sprintf("cpus:0.1;mem:32;ports:[%d-%d]", port, port), offer))
						launched++
					}
					s.launch(offer, tasks...)
				}
			case mesos.EventUpdate:
				if event.Update.Status.State != mesos.TaskRunning {
					b.Fatalf("%+v", event.Update.Status)
				}
				s.ack(event.Update.Status)
				acked++
			}
		}
		var state map[string]any
		e.get("/state", &state)
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		b.ReportMetric(float64(mem.HeapAlloc)/1e6, "MB-heap")
		stop()
	}
}

// BenchmarkState is /state of 8,000 tasks after one of them changed.
func BenchmarkState(b *testing.B) {
	m := newMachine()
	f := m.c.addFramework("f", named("f"))
	for i := range 200 {
		w := newWorker(fmt.Sprint("w", i))
		m.c.workers[w.id] = w
		for j := range 40 {
			info := todo(b, fmt.Sprintf("app_web.instance-%d._app.1", i*40+j), "cpus:0.1;mem:32;ports:[31000]", mesos.Offer{AgentID: mesos.ID{Value: w.id}})
			t := newTask(f.id, w.id, info)
			t.set(mesos.TaskStatus{State: mesos.TaskRunning})
			w.take(t)
			f.tasks[info.TaskID.Value] = t
		}
	}
	master := &Master{cfg: *m.c.cfg, core: m.c}
	b.Run("engine", func(b *testing.B) {
		for b.Loop() {
			m.c.view()
		}
	})
	b.Run("encode", func(b *testing.B) {
		s := m.c.view()
		for b.Loop() {
			record(master.stateView(s))
		}
	})
}
