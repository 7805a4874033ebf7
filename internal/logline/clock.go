// Package logline reads when lines of logs were written, and merges logs by time.
// It takes lines and gives lines: it opens no files and knows no programs, only the
// ways in which common logging libraries write a time. It imports nothing of this
// module.
package logline

import (
	"strings"
	"time"
)

// Clock tells the time of one log's lines, in their order.
type Clock struct {
	last time.Time
}

// At returns when a line was written. A line without a time of its own continues the
// one before and has its time; so has one whose time is earlier, because what is
// written later in a file is never shown first. It is zero before the first time.
func (c *Clock) At(line string) time.Time {
	if t, ok := parse(line, c.last); ok && t.After(c.last) {
		c.last = t
	}
	return c.last
}

// window is how much of a line's beginning is looked at, in bytes.
const window = 160

// keys stand before the time in logs of named fields.
var keys = []string{`"time":"`, `"timestamp":"`, `"@timestamp":"`, `"ts":"`} //nolint:gochecknoglobals // a constant

// parse finds a time at the beginning of a line. Times without a zone are local;
// those without a date are of the day of the last.
func parse(line string, last time.Time) (time.Time, bool) {
	line = line[:min(len(line), window)]
	line = strings.TrimLeft(line, " [")
	if rest, ok := strings.CutPrefix(line, "time="); ok {
		line = strings.TrimPrefix(rest, `"`)
	}
	if strings.HasPrefix(line, "{") {
		for _, key := range keys {
			if _, rest, ok := strings.Cut(line, key); ok {
				line = rest
				break
			}
		}
	}
	switch {
	case len(line) < len("15:04:05"):
	case digits(line, 4) && (line[4] == '-' || line[4] == '/'):
		return dated(line[:4], line[4:])
	case digits(line, 2) && line[2] == '/': // 26/11/22, as some programs write on a console
		return dated("20"+line[:2], line[2:])
	case digits(line, 2) && line[2] == ':' && !last.IsZero():
		return undated(line, last)
	case line[0] >= 'A' && line[0] <= 'Z':
		return worded(line)
	}
	return time.Time{}, false
}

func digits(s string, n int) bool {
	if len(s) <= n {
		return false
	}
	for i := range n {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// dated reads "-11-22 19:24:42,123" after a year, with a blank or a T, and a zone or
// none.
func dated(year, rest string) (time.Time, bool) {
	const layout = "-01-02T15:04:05"
	if len(rest) < len(layout) || rest[6] != ' ' && rest[6] != 'T' {
		return time.Time{}, false
	}
	text := year + strings.ReplaceAll(rest[:6], "/", "-") + "T" + rest[7:len(layout)]
	nanos, rest := fraction(rest[len(layout):])
	t, err := time.ParseInLocation("2006"+layout, text, zone(rest))
	return t.Add(nanos), err == nil
}

// undated reads "19:24:42.123".
func undated(line string, last time.Time) (time.Time, bool) {
	t, err := time.Parse(time.TimeOnly, line[:len(time.TimeOnly)])
	if err != nil {
		return time.Time{}, false
	}
	nanos, _ := fraction(line[len(time.TimeOnly):])
	day := last.Local()
	at := time.Date(day.Year(), day.Month(), day.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.Local).Add(nanos)
	if last.Sub(at) > 12*time.Hour { // past midnight
		at = at.AddDate(0, 0, 1)
	}
	return at, true
}

// worded reads "Nov 22, 2026 7:24:42 PM", as java.util.logging writes.
func worded(line string) (time.Time, bool) {
	const layout = "Jan 2, 2006 3:04:05 PM"
	for _, half := range []string{" AM", " PM"} {
		if i := strings.Index(line, half); i > 0 && i < len(layout)+2 {
			t, err := time.ParseInLocation(layout, line[:i+len(half)], time.Local)
			return t, err == nil
		}
	}
	return time.Time{}, false
}

// fraction reads ",123" or ".123456" and returns what follows.
func fraction(s string) (time.Duration, string) {
	if s == "" || s[0] != ',' && s[0] != '.' && s[0] != ':' {
		return 0, s
	}
	d, unit, i := time.Duration(0), time.Second, 1
	for ; i < len(s) && s[i] >= '0' && s[i] <= '9' && i <= 9; i++ {
		unit /= 10
		d += time.Duration(s[i]-'0') * unit
	}
	return d, s[i:]
}

// zone reads "Z", "+0100" or "+01:00" at the beginning of what follows a time; local
// time without one.
func zone(s string) *time.Location {
	if strings.HasPrefix(s, "Z") {
		return time.UTC
	}
	for _, layout := range []string{"-07:00", "-0700"} {
		if len(s) >= len(layout) && (s[0] == '+' || s[0] == '-') {
			if t, err := time.Parse(layout, s[:len(layout)]); err == nil {
				_, seconds := t.Zone()
				return time.FixedZone("", seconds)
			}
		}
	}
	return time.Local
}
