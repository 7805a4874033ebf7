package cluster

import (
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/internal/store"
)

// TestChoose: which silent nodes are mended now.
func TestChoose(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) *time.Time { at := now.Add(-d); return &at }
	node := func(name string, silent time.Duration, w store.Watch) patient {
		cluster, _, _ := strings.Cut(name, "-")
		return patient{store.Watched{ID: name, Name: name, Cluster: cluster}, w, silent}
	}
	never := store.Watch{}
	for name, c := range map[string]struct {
		silent []patient
		want   string
	}{
		"nobody":                      {},
		"not yet":                     {silent: []patient{node("a-1", mendAfter-time.Second, never)}},
		"one":                         {silent: []patient{node("a-1", mendAfter, never)}, want: "a-1"},
		"the longest of a cluster":    {silent: []patient{node("a-1", 6*time.Minute, never), node("a-2", 7*time.Minute, never), node("b-1", mendAfter, never)}, want: "a-2 b-1"},
		"mended 29 minutes ago":       {silent: []patient{node("a-1", time.Hour, store.Watch{Mended: ago(29 * time.Minute)})}},
		"mended 31 minutes ago":       {silent: []patient{node("a-1", time.Hour, store.Watch{Mended: ago(31 * time.Minute)})}, want: "a-1"},
		"another has time to come":    {silent: []patient{node("a-1", time.Hour, never), node("a-2", time.Hour, store.Watch{Mended: ago(4 * time.Minute)})}},
		"another has had its time":    {silent: []patient{node("a-1", time.Hour, never), node("a-2", time.Hour, store.Watch{Mended: ago(6 * time.Minute)})}, want: "a-1"},
		"cut short":                   {silent: []patient{node("a-1", time.Minute, store.Watch{Mended: ago(time.Minute), Mending: true})}, want: "a-1"},
		"cut short, beside others":    {silent: []patient{node("a-1", time.Hour, never), node("a-2", time.Minute, store.Watch{Mended: ago(time.Minute), Mending: true})}, want: "a-2"},
		"a clock that was set back":   {silent: []patient{node("a-1", time.Hour, store.Watch{Mended: ago(-time.Hour)})}},
		"equal ones in order of name": {silent: []patient{node("a-1", time.Hour, never), node("a-2", time.Hour, never)}, want: "a-1"},
	} {
		var got []string
		for _, p := range choose(now, c.silent) {
			got = append(got, p.Name)
		}
		if have := strings.Join(got, " "); have != c.want {
			t.Errorf("%s: %q, want %q", name, have, c.want)
		}
	}
}
