package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestKill ends instances by SIGKILL at random moments, starts others in their
// place, and compares the dataset byte for byte. HOWDAH_TEST_SEED repeats the
// moments of an earlier run.
func TestKill(t *testing.T) {
	const kills = 40
	program := buildIngest(t)
	seed, err := strconv.ParseUint(os.Getenv("HOWDAH_TEST_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("HOWDAH_TEST_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	sources := sourceTree(t, 6)
	killed, rounds := 0, 0
	for ; killed < kills && rounds < 20; rounds++ {
		killed += killRound(t, program, sources, random)
	}
	t.Logf("%d kills in %d rounds", killed, rounds)
	if killed < kills {
		t.Errorf("only %d of %d kills in %d rounds", killed, kills, rounds)
	}
}

func buildIngest(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "ingest")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

// killRound makes one dataset and returns how many instances were killed.
func killRound(t *testing.T, program, sources string, random *rand.Rand) (killed int) {
	w := newWorld(t, sources, slowUploads)
	next := 0
	start := func() *exec.Cmd {
		next++
		cmd := exec.CommandContext(t.Context(), program)
		cmd.Env = w.environ(fmt.Sprintf("ingest.%d", next))
		cmd.Stderr = &lines{t: t, name: fmt.Sprint("ingest.", next)}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	running := []*exec.Cmd{start(), start(), start()}
	for range 60 {
		time.Sleep(time.Duration(5+random.IntN(200)) * time.Millisecond)
		if _, complete := w.store.Get(dataset + "/" + successFile); complete && random.IntN(2) == 0 {
			break // some are killed after that too, while they clean up
		}
		i := random.IntN(len(running))
		kill(t, running[i])
		killed++
		running[i] = start()
	}
	w.wantExact()
	for _, cmd := range running {
		// One that has just begun does not listen yet.
		w.waitFor("it says something", cmd.Stderr.(*lines).said.Load, func() any { return cmd.Stderr.(*lines).name })
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("an instance that was told to end: %v", err)
		}
	}
	return killed
}

// kill ends an instance, which must not have ended by itself.
func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
		t.Errorf("an instance ended by itself: %v", cmd.ProcessState)
	}
}

// slowUploads lets contents through at a pace that leaves moments to be killed in.
func slowUploads(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > 0 {
			r.Body = &slow{r.Body}
		}
		next.ServeHTTP(w, r)
	})
}

type slow struct {
	body interface {
		Read([]byte) (int, error)
		Close() error
	}
}

func (s *slow) Read(p []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return s.body.Read(p[:min(len(p), 16<<10)])
}

func (s *slow) Close() error { return s.body.Close() }

// lines puts what an instance says into the log of the test.
type lines struct {
	t    *testing.T
	name string
	said atomic.Bool // anything
}

func (l *lines) Write(p []byte) (int, error) {
	l.said.Store(true)
	for line := range strings.Lines(string(p)) {
		l.t.Logf("%s: %s", l.name, strings.TrimSpace(line))
	}
	return len(p), nil
}
