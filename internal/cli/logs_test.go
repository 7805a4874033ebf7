package cli

import (
	"testing"
	"time"
)

// TestSince: how far back, and since when.
func TestSince(t *testing.T) {
	now := time.Date(2026, 11, 22, 14, 30, 0, 0, time.Local)
	local := func(day, hour, minute, second int) time.Time {
		return time.Date(2026, 11, day, hour, minute, second, 0, time.Local)
	}
	for text, want := range map[string]time.Time{
		"":                     {},
		"10m":                  local(22, 14, 20, 0),
		"2h30m":                local(22, 12, 0, 0),
		"14:00":                local(22, 14, 0, 0),
		"14:00:30":             local(22, 14, 0, 30),
		"23:00":                local(21, 23, 0, 0), // of yesterday: today's is still to come
		"2026-11-20":           local(20, 0, 0, 0),
		"2026-11-20 08:15":     local(20, 8, 15, 0),
		"2026-11-20T08:15:30":  local(20, 8, 15, 30),
		"2026-11-20T08:15:30Z": time.Date(2026, 11, 20, 8, 15, 30, 0, time.UTC),
	} {
		if got, err := sinceTime(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "-10m", "10", "25:00", "2026-13-01"} {
		if _, err := sinceTime(text, now); err == nil || err.Error() != `--since "`+text+`" is neither a time nor how far back: write 10m, 2h30m, 14:30 or 2026-11-22T14:30:00Z` {
			t.Errorf("%q: %v", text, err)
		}
	}
}
