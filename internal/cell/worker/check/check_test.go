package check

import (
	"errors"
	"testing"
	"time"
)

// TestHealth counts answers: "." is good, "x" is bad, each a second after the last.
func TestHealth(t *testing.T) {
	start := time.Now()
	tests := []struct {
		answers string
		grace   int // seconds
		most    int
		want    string // of each answer: h healthy, s sick, - nothing new; D ends the task
	}{
		{"..", 0, 3, "h-"},
		{"xxxx", 0, 3, "s-DD"},
		{"x.x.", 0, 3, "shsh"},
		{"xx.xx.xxx", 0, 3, "s-hs-hs-D"},
		{"xxxxxx", 3, 3, "---s-D"},
		{"x.xxx", 10, 3, "-hs-D"}, // the grace period ends with the first success
		{"xxxxxxxx", 0, 0, "s-------"},
		{"x", 0, 1, "D"},
	}
	for _, tt := range tests {
		h := Health{Grace: time.Duration(tt.grace) * time.Second, Most: tt.most, Started: start}
		got := ""
		for i, c := range tt.answers {
			var a Answer
			if c == 'x' {
				a.Err = errors.New("bad")
			}
			healthy, changed, dead := h.Count(a, start.Add(time.Duration(i)*time.Second))
			switch {
			case dead:
				got += "D"
			case changed && healthy:
				got += "h"
			case changed:
				got += "s"
			default:
				got += "-"
			}
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.answers, got, tt.want)
		}
	}
}
