package marathon

import (
	"slices"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/instance"
)

// statsView are Marathon's taskStats: the same figures of four sets of tasks.
type statsView struct {
	AfterScaling *statsOf `json:"startedAfterLastScaling,omitempty"`
	Latest       *statsOf `json:"withLatestConfig,omitempty"`
	Outdated     *statsOf `json:"withOutdatedConfig,omitempty"`
	Total        *statsOf `json:"totalSummary,omitempty"`
}

type statsOf struct {
	Stats struct {
		Counts   statCounts `json:"counts"`
		LifeTime *lifeTime  `json:"lifeTime,omitempty"`
	} `json:"stats"`
}

type statCounts struct {
	Staged    int `json:"staged"`
	Running   int `json:"running"`
	Healthy   int `json:"healthy"`
	Unhealthy int `json:"unhealthy"`
}

type lifeTime struct {
	Average float64 `json:"averageSeconds"`
	Median  float64 `json:"medianSeconds"`
}

func stats(spec *app.App, instances []*instance.Instance) *statsView {
	info := spec.VersionInfo
	if info == nil {
		return nil
	}
	some := func(keep func(*instance.Instance) bool) *statsOf {
		return figures(spec, slices.DeleteFunc(slices.Clone(instances), func(i *instance.Instance) bool { return !keep(i) }))
	}
	latest := func(i *instance.Instance) bool { return i.Version.Equal(info.LastConfigChangeAt.Time) }
	return &statsView{
		AfterScaling: some(func(i *instance.Instance) bool { return !i.StagedAt.Before(info.LastScalingAt.Time) }),
		Latest:       some(latest),
		Outdated:     some(func(i *instance.Instance) bool { return !latest(i) }),
		Total:        some(func(*instance.Instance) bool { return true }),
	}
}

// figures are those of one set; nil for none.
func figures(spec *app.App, instances []*instance.Instance) *statsOf {
	if len(instances) == 0 {
		return nil
	}
	c := count(spec, instances)
	out := &statsOf{}
	out.Stats.Counts = statCounts{c.Staged, c.Running, c.Healthy, c.Unhealthy}
	var ages []float64
	sum := 0.0
	for _, i := range instances {
		if i.StartedAt != nil {
			age := time.Since(*i.StartedAt).Seconds()
			ages, sum = append(ages, age), sum+age
		}
	}
	if len(ages) > 0 {
		slices.Sort(ages)
		out.Stats.LifeTime = &lifeTime{Average: sum / float64(len(ages)), Median: ages[len(ages)/2]}
	}
	return out
}
