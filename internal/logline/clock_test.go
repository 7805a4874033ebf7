package logline

import (
	"testing"
	"time"
)

// TestClock: the ways in which programs write a time, and lines without one.
func TestClock(t *testing.T) {
	local := func(h, m, s, ms int) time.Time {
		return time.Date(2026, 11, 22, h, m, s, ms*1e6, time.Local)
	}
	utc := time.Date(2026, 11, 22, 19, 24, 42, 123e6, time.UTC)
	for _, tt := range []struct {
		name, line string
		want       time.Time // zero: it has none
	}{
		{"log4j", "2026-11-22 19:24:42,123 INFO namenode.FSNamesystem: ready", local(19, 24, 42, 123)},
		{"logback ISO8601 with myid", "2026-11-22 19:24:42,123 [myid:1] - INFO  [main:X@1] - up", local(19, 24, 42, 123)},
		{"a point", "2026-11-22 19:24:42.123 o.a.s.d.nimbus main [INFO] up", local(19, 24, 42, 123)},
		{"no fraction", "2026-11-22 19:24:42 up", local(19, 24, 42, 0)},
		{"in brackets", "[2026-11-22 19:24:42,123] INFO up (kafka.Server)", local(19, 24, 42, 123)},
		{"slashes", "2026/11/22 19:24:42 listening", local(19, 24, 42, 0)},
		{"short year", "26/11/22 19:24:42 INFO util.Shell: x", local(19, 24, 42, 0)},
		{"ISO in UTC", "2026-11-22T19:24:42.123Z up", utc},
		{"ISO with a zone", "2026-11-22T20:24:42.123+01:00 up", utc},
		{"the JVM's own", "[2026-11-22T20:24:42.123+0100][info][gc] Pause", utc},
		{"microseconds", "2026-11-22T19:24:42.123000Z up", utc},
		{"slog", "time=2026-11-22T19:24:42.123Z level=INFO msg=up", utc},
		{"JSON", `{"level":"info","time":"2026-11-22T19:24:42.123Z","msg":"up"}`, utc},
		{"java.util.logging", "Nov 22, 2026 7:24:42 PM com.sun.X up", local(19, 24, 42, 0)},
		{"a trace", "\tat org.apache.Foo.bar(Foo.java:12)", time.Time{}},
		{"words", "Caused by: java.io.IOException: no 2026-11-22 19:24:42", time.Time{}},
		{"a number", "20261122 items", time.Time{}},
		{"no month", "2026-13-22 19:24:42 x", time.Time{}},
		{"time without a day known", "19:24:42.123 [main] DEBUG up", time.Time{}},
		{"nothing", "", time.Time{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c Clock
			if got := c.At(tt.line); !got.Equal(tt.want) {
				t.Errorf("%q: %s, want %s", tt.line, got, tt.want)
			}
		})
	}
}

// TestClockGoesOn: lines without a time belong to the one before, times of day to its
// day, and nothing goes back.
func TestClockGoesOn(t *testing.T) {
	var c Clock
	for _, tt := range []struct{ line, want string }{
		{"no time yet", "0001-01-01T00:00:00"},
		{"2026-11-22T23:59:58.000Z [howdah] incarnation 1 begins", "2026-11-22T23:59:58"},
		{"\tat x", "2026-11-22T23:59:58"},
		{"2026-11-22T23:59:50Z an older line, written later", "2026-11-22T23:59:58"},
		{"2026-11-23T00:00:01Z next", "2026-11-23T00:00:01"},
	} {
		if got := c.At(tt.line).UTC().Format("2006-01-02T15:04:05"); got != tt.want {
			t.Errorf("%q is of %s, want %s", tt.line, got, tt.want)
		}
	}
	day := Clock{last: time.Date(2026, 11, 22, 23, 59, 59, 0, time.Local)}
	if got, want := day.At("00:00:01.500 [main] DEBUG after midnight"), time.Date(2026, 11, 23, 0, 0, 1, 5e8, time.Local); !got.Equal(want) {
		t.Errorf("after midnight it is %s, want %s", got, want)
	}
}
