package worker

import (
	"slices"
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/shim/shimtest"
)

// BenchmarkLaunch is the time from accepting an offer to TASK_RUNNING at the
// framework, with both acknowledgements of the way.
func BenchmarkLaunch(b *testing.B) {
	tests := []struct {
		name string
		runc bool
		info mesos.TaskInfo
	}{
		{"plain", false, mesos.TaskInfo{Command: &mesos.CommandInfo{Shell: new(false), Value: "/bin/sleep", Arguments: []string{"sleep", "1000"}}}},
		{"runc", true, content("wait")},
	}
	for _, tt := range tests {
		b.Run(tt.name, func(b *testing.B) {
			c := newCell(b, func(s *setup) {
				if s.Runc = tt.runc; tt.runc {
					s.Layer = shimtest.Layer(b)
				}
			})
			var took []time.Duration
			for b.Loop() {
				c.lastID++
				offer := c.offer(nil)
				c.offers <- offer
				began := time.Now()
				id := c.launch(tt.info, "")
				c.untilState(id, mesos.TaskRunning)
				took = append(took, time.Since(began))
				b.StopTimer()
				c.kill(id)
				c.end(id)
				b.StartTimer()
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
		})
	}
}
