package simulation

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// number reads a number from the environment.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s is %q, not a number", name, text)
	}
	return n
}

// report fails the test with all that is needed to see a broken seed again.
func report(t *testing.T, v verdict) {
	t.Helper()
	if len(v.broken) == 0 {
		return
	}
	for _, b := range v.broken {
		t.Error(b)
	}
	t.Errorf("seed %d, digest %s; again: make sim SEED=%d; the last of it:\n%s", v.seed, v.digest, v.seed, v.last)
}

// inTest is how many seeds a plain test plays.
const inTest = 20

// TestSeeds plays seeds, SIM_SEEDS of them from 1, or SIM_SEED alone.
func TestSeeds(t *testing.T) {
	first, n := uint64(1), number(t, "SIM_SEEDS", inTest)
	if one := number(t, "SIM_SEED", 0); one > 0 {
		first, n = one, 1
	}
	if from := number(t, "SIM_FROM", 0); from > 0 {
		first = from
	}
	began := time.Now()
	var mu sync.Mutex
	var all counts
	played := 0
	t.Run("seeds", func(t *testing.T) {
		for seed := first; seed < first+n; seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				v := play(t, seed)
				report(t, v)
				mu.Lock()
				defer mu.Unlock()
				played++
				all.add(v.counts)
				if n == 1 {
					t.Logf("seed %d, digest %s, all of it:\n%s", v.seed, v.digest, strings.Join(v.trace, "\n"))
				}
			})
		}
	})
	if played >= inTest && (all.beside == 0 || all.without == 0 || all.expired == 0) {
		t.Error("the seeds do not have in them what they are to")
	}
	t.Logf("%d seeds in %s: %d operations, %d lives of servers, %d driver calls delivered twice, %d held up, %d points passed, %d effects; %d attempts beside another cluster's operation, %d operations done without a node, %d times to live ended; all held",
		played, time.Since(began).Round(time.Second), all.operations, all.lives, all.twice, all.held, all.points, all.effects, all.beside, all.without, all.expired)
}

// TestFound plays the seeds that once found a fault of the product.
func TestFound(t *testing.T) {
	for seed, what := range map[uint64]string{
		26:   "a machine never boots of a cluster that wants all nodes, and no apply makes it anew",
		80:   "a node that an earlier operation stopped, and did not come to remove, is reconfigured and stays stopped",
		9195: "a node that is being removed is stopped with its cluster, and then counts as one that stays",
		9535: "a node that is being removed is waited for, though its agent is not let in any more",
	} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Log(what)
			report(t, play(t, seed))
		})
	}
}

// TestSame: a seed played again does the same: what is decided and what it does.
func TestSame(t *testing.T) {
	digests := map[string]uint64{}
	for _, seed := range []uint64{1, 2, 125} {
		a, b := play(t, seed), play(t, seed)
		if a.digest != b.digest {
			i := 0
			for i < min(len(a.trace), len(b.trace)) && a.trace[i] == b.trace[i] {
				i++
			}
			t.Errorf("seed %d: %s, and then %s; they part after\n%s\n\n%s\n\n%s", seed, a.digest, b.digest, cut(a.trace, i-20, i), cut(a.trace, i, i+20), cut(b.trace, i, i+20))
		}
		if other, was := digests[a.digest]; was {
			t.Errorf("seeds %d and %d are the same", other, seed)
		}
		digests[a.digest] = seed
	}
}

// cut returns some lines of a trace.
func cut(trace []string, from, to int) string {
	return strings.Join(trace[max(0, from):min(len(trace), to)], "\n")
}
