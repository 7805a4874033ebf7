package node

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/session"
)

// TestReadThroughRotation: whatever is written, in whole lines or parts, and whenever
// the log is rotated, a reader gets every line once and in order, or is told how many
// bytes are missing.
func TestReadThroughRotation(t *testing.T) {
	dir := t.TempDir()
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		name := fmt.Sprintf("log-%d", runs)
		path := filepath.Join(dir, name)
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var rot rotations
		r := logReader{file: logFile{&rot, dir, name}}
		var wrote, got strings.Builder
		missing := int64(0)
		read := func() {
			for more := true; more; {
				var lost int64
				more, lost, err = r.read(1<<60, func(l logLine) bool {
					got.WriteString(l.text + "\n")
					return true
				})
				if err != nil {
					t.Fatal(err)
				}
				missing += lost
			}
		}
		n := 0
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				text := ""
				for range rapid.IntRange(1, 200).Draw(t, "lines") {
					n++
					text += fmt.Sprintf("line %d %s\n", n, strings.Repeat("x", n%97))
				}
				wrote.WriteString(text)
				cut := rapid.IntRange(0, len(text)).Draw(t, "cut") // one line in two writes
				f.WriteString(text[:cut])
				if rapid.Bool().Draw(t, "read between") {
					read()
				}
				f.WriteString(text[cut:])
			case 2:
				if err := rot.rotate(path, 4096, keepOutput); err != nil {
					t.Fatal(err)
				}
			case 3:
				read()
			}
		}
		read()
		if missing == 0 {
			if got.String() != wrote.String() {
				t.Fatalf("it read %d bytes, %d were written", got.Len(), wrote.Len())
			}
			return
		}
		if !strings.HasSuffix(wrote.String(), got.String()[max(0, got.Len()-100):]) {
			t.Fatal("after a gap it does not read on to the end")
		}
		if int64(wrote.Len()-got.Len()) < missing-100 || int64(wrote.Len()-got.Len()) > missing+200 {
			t.Fatalf("%d bytes are missing, it said %d", wrote.Len()-got.Len(), missing)
		}
	})
}

// TestChoose: which lines since, tail and previous choose, of a log in two parts.
func TestChoose(t *testing.T) {
	h := newHub(t)
	h.agent()
	h.until("the agent watches", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.watches > 0 })
	svc := h.service("")
	if err := os.MkdirAll(filepath.Join(svc.Dir, "logs"), 0o755); err != nil {
		t.Fatal(err)
	}
	day := time.Now().UTC().Format(time.DateOnly)
	write := func(name string, lines ...string) {
		t.Helper()
		text := strings.ReplaceAll(strings.Join(lines, "\n")+"\n", "DAY", day)
		if err := os.WriteFile(filepath.Join(svc.Dir, "logs", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("svc.out.1", "no time", "DAYT01:00:00.000Z [howdah] incarnation 1 begins", "DAYT01:00:01Z one", "\tat trace")
	write("svc.out", "DAYT01:00:02Z [howdah] incarnation 1 ended: killed by SIGKILL", "DAYT02:00:00.000Z [howdah] incarnation 2 begins", "DAYT02:00:01Z two", "more of two", "DAYT02:00:02Z three")
	write("format.out", "DAYT00:30:00Z formatted")
	write("other.txt", "no log")
	if err := os.Symlink(h.path("agent", "key.pem"), filepath.Join(svc.Dir, "logs", "key.out")); err != nil {
		t.Fatal(err)
	}
	h.assign(func(a *agentapi.Assignment) { a.Services, a.Intent = []agentapi.Service{svc}, agentapi.IntentStop })
	h.state("stopped")
	at := func(clock string) time.Time {
		v, err := time.Parse(time.RFC3339, day+"T"+clock+"Z")
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	all := []string{
		"svc no time", "svc/format formatted", "svc incarnation 1 begins", "svc one", "svc \tat trace", "svc incarnation 1 ended: killed by SIGKILL",
		"svc incarnation 2 begins", "svc two", "svc more of two", "svc three",
	}
	for _, tt := range []struct {
		name string
		r    agentapi.LogsRequest
		want []string
	}{
		{"all", agentapi.LogsRequest{Tail: -1}, all},
		{"one service", agentapi.LogsRequest{Tail: -1, Services: []string{"svc"}}, all},
		{"one task", agentapi.LogsRequest{Tail: -1, Services: []string{"svc/format"}}, all[1:2]},
		{"none", agentapi.LogsRequest{Tail: -1, Services: []string{"sv"}}, nil},
		{"a path", agentapi.LogsRequest{Tail: -1, Services: []string{"../agent/key.pem"}}, nil},
		{"tail", agentapi.LogsRequest{Tail: 2}, []string{"svc/format formatted", "svc more of two", "svc three"}},
		{"tail over parts", agentapi.LogsRequest{Tail: 6, Services: []string{"svc"}}, append([]string{"svc/format formatted"}, all[4:]...)},
		{"nothing", agentapi.LogsRequest{Tail: 0}, nil},
		{"since", agentapi.LogsRequest{Tail: -1, Since: at("02:00:01")}, all[7:]},
		{"since with its trace", agentapi.LogsRequest{Tail: -1, Since: at("01:00:01")}, all[3:]},
		{"since and tail", agentapi.LogsRequest{Tail: 2, Since: at("01:00:01")}, all[8:]},
		{"since later", agentapi.LogsRequest{Tail: -1, Since: at("03:00:00")}, nil},
		{"previous", agentapi.LogsRequest{Tail: -1, Previous: true, Services: []string{"svc"}}, []string{"-- there is no earlier incarnation in the log", "svc incarnation 1 begins", "svc one", "svc \tat trace", "svc incarnation 1 ended: killed by SIGKILL"}},
	} {
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			got := h.logLines(h.logs(tt.r), nil)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	got := h.logLines(h.logs(agentapi.LogsRequest{Tail: -1, Services: []string{"svc/key"}}), nil)
	if len(got) != 0 {
		t.Errorf("a link out of the service's directory is read: %q", got)
	}
}

// TestOwnLogs: logs that a service keeps itself are shown with its own, merged by time,
// through their rotation; one that begins later is found; nothing outside is read.
func TestOwnLogs(t *testing.T) {
	h := newHub(t)
	h.agent()
	h.until("the agent watches", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.watches > 0 })
	svc := h.service("")
	svc.Logs = []string{"workers/*/*.log"}
	write := func(name, text string) {
		t.Helper()
		file := filepath.Join(svc.Dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("logs/svc.out", "2026-11-22T01:00:02Z two\n2026-11-22T01:00:06Z six\n")
	write("workers/a/w.log.2", "2026-11-22T01:00:01Z one\n")
	write("workers/a/w.log.1", "2026-11-22T01:00:03Z three\n")
	write("workers/a/w.log", "2026-11-22T01:00:05Z five\n")
	write("workers/b/w.log", "2026-11-22T01:00:04Z four\n")
	write("workers/b/x\x1b[2J.log", "2026-11-22T01:00:04Z a name that a terminal would obey\n")
	write("workers/b/other", "2026-11-22T01:00:04Z no log\n")
	secret := h.path("agent", "secret.log")
	if err := os.WriteFile(secret, []byte("a secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for to, link := range map[string]string{secret: "workers/b/link.log", filepath.Dir(secret): "workers/out"} {
		if err := os.Symlink(to, filepath.Join(svc.Dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	h.assign(func(a *agentapi.Assignment) { a.Services, a.Intent = []agentapi.Service{svc}, agentapi.IntentStop })
	h.state("stopped")
	const a, b = "svc/workers/a/w.log ", "svc/workers/b/w.log "
	want := []string{a + "one", "svc two", a + "three", b + "four", a + "five", "svc six"}
	if diff := cmp.Diff(want, h.logLines(h.logs(agentapi.LogsRequest{Tail: -1}), nil)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{b + "four"}, h.logLines(h.logs(agentapi.LogsRequest{Tail: -1, Services: []string{"svc/workers/b/w.log"}}), nil)); diff != "" {
		t.Errorf("of one (-want +got):\n%s", diff)
	}
	if got := h.logLines(h.logs(agentapi.LogsRequest{Tail: -1, Previous: true}), nil); len(got) != 1 || strings.Contains(got[0], "w.log") {
		t.Errorf("of the earlier incarnation: %q", got)
	}
	s := h.logs(agentapi.LogsRequest{Tail: 0, Follow: true})
	for kind := byte(0); kind != session.FrameReady; {
		var err error
		if kind, _, err = s.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	write("workers/c/w.log", "2026-11-22T01:00:07Z seven\n")
	if got := h.logLines(s, func(string) bool { return true }); len(got) != 1 || got[0] != "svc/workers/c/w.log seven" {
		t.Errorf("what begins later: %q", got)
	}
	s.Close()
}

func (h *hub) logs(r agentapi.LogsRequest) *session.Session {
	h.t.Helper()
	return h.open(agentapi.SessionRequest{Kind: agentapi.SessionLogs, Logs: &r})
}

// logLines reads lines to the end of a session, or until one is the last that is wanted.
// The agent's own marks are shown without their time.
func (h *hub) logLines(s *session.Session, last func(line string) bool) (out []string) {
	h.t.Helper()
	var text string
	for {
		kind, data, err := s.Recv()
		if err != nil {
			return out
		}
		if kind != session.FrameLines {
			continue
		}
		text += string(data)
		for {
			line, rest, whole := strings.Cut(text, "\n")
			if !whole {
				break
			}
			text = rest
			var l api.LogLine
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				h.t.Fatal(err)
			}
			shown := l.Text
			if first, after, ok := strings.Cut(shown, " "); ok && strings.HasSuffix(first, "Z") {
				shown = strings.TrimPrefix(after, "[howdah] ")
			}
			if shown = l.Service + " " + shown; l.Notice {
				shown = "-- " + l.Text
			}
			out = append(out, shown)
			if last != nil && last(shown) {
				return out
			}
		}
	}
}

// TestFollow: a session sees what a service writes before and after it is killed, each
// line once, with the incarnations told apart.
func TestFollow(t *testing.T) {
	h := newHub(t)
	h.serve(h.service(`echo x >> starts; n=$(wc -l < starts); i=0; touch ready; while [ $i -lt 500 ]; do i=$((i+1)); echo "$n line $i"; done; printf "cut short"; exec sleep 1000`))
	h.agent()
	first := h.state("ready")
	s := h.logs(agentapi.LogsRequest{Tail: -1, Follow: true})
	got := h.logLines(s, func(line string) bool { return line == "svc 1 line 500" })
	h.until("all is written", func() bool {
		l := h.lines("logs/svc.out")
		return len(l) > 0 && strings.HasSuffix(l[len(l)-1], "cut short")
	})
	if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	got = append(got, h.logLines(s, func(line string) bool { return line == "svc 2 line 500" })...)
	want := []string{"svc incarnation 1 begins"}
	for n := 1; n <= 2; n++ {
		for i := 1; i <= 500; i++ {
			want = append(want, fmt.Sprintf("svc %d line %d", n, i))
		}
		if n == 1 {
			want = append(want, "svc cut short", "svc incarnation 1 ended: killed by SIGKILL", "svc incarnation 2 begins")
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s.Close()
	got = h.logLines(h.logs(agentapi.LogsRequest{Tail: -1, Previous: true}), nil)
	if i := slices.Index(want, "svc incarnation 2 begins"); !slices.Equal(got, want[:i]) {
		t.Errorf("the previous incarnation has %d lines, want %d", len(got), i)
	}
}
