package number_test

import (
	"math"
	"testing"
	"time"

	"howdah.dev/howdah/internal/number"
)

func TestThousands(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 7: "7", 999: "999", 1000: "1,000", 12288: "12,288", 1234567: "1,234,567",
		-999: "-999", -1000: "-1,000", math.MinInt64: "-9,223,372,036,854,775,808",
	} {
		if got := number.Thousands(n); got != want {
			t.Errorf("%d is written %s, want %s", n, got, want)
		}
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 nodes", 1: "1 node", 2: "2 nodes"} {
		if got := number.Count(n, "node"); got != want {
			t.Errorf("%d is written %s, want %s", n, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0 s", 0: "0 s", 999 * time.Millisecond: "0 s", 12 * time.Second: "12 s", time.Minute: "1 min",
		3*time.Minute + 5*time.Second: "3 min 5 s", time.Hour + 59*time.Second: "1 h", 150 * time.Minute: "2 h 30 min", 100 * time.Hour: "100 h",
	} {
		if got := number.Span(d); got != want {
			t.Errorf("%s is written %s, want %s", d, got, want)
		}
	}
}
