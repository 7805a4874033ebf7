package worker

import (
	"math"
	"testing"

	"howdah.dev/howdah/internal/cell/mesos"
)

// TestMemoryLimit: who asks for no memory gets a limit too, the least there is.
func TestMemoryLimit(t *testing.T) {
	limit := func(mb float64) map[string]mesos.Limit { return map[string]mesos.Limit{"mem": {Value: mb}} }
	for _, c := range []struct {
		name   string
		asked  mesos.Resources
		limits map[string]mesos.Limit
		mb     int64
	}{
		{"nothing", nil, nil, 32},
		{"0", mesos.Resources{mesos.NewScalar("mem", 0)}, nil, 32},
		{"little", mesos.Resources{mesos.NewScalar("mem", 8)}, nil, 32},
		{"enough", mesos.Resources{mesos.NewScalar("mem", 64)}, nil, 64},
		{"a limit of 0", mesos.Resources{mesos.NewScalar("mem", 64)}, limit(0), 32},
		{"a higher limit", mesos.Resources{mesos.NewScalar("mem", 64)}, limit(128), 128},
		{"none, said so", mesos.Resources{mesos.NewScalar("mem", 64)}, limit(math.Inf(1)), 0},
	} {
		info := &mesos.TaskInfo{Resources: c.asked, Limits: c.limits}
		if got := limits(info).Memory; got != c.mb<<20 {
			t.Errorf("%s: limit of %d bytes, wanted %d MB", c.name, got, c.mb)
		}
	}
}
