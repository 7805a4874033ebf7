package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/examples/platform/pipeline/multilang"
)

const tick = "tick"

// play sends lines and ticks to a bolt and returns what it emitted and how
// many tuples it acknowledged.
func play(t *testing.T, journal string, inputs ...string) (emitted []string, acks int, out string) {
	t.Helper()
	var in, w bytes.Buffer
	in.WriteString(`{"pidDir":"","conf":{},"context":{}}` + "\nend\n")
	for i, line := range inputs {
		tuple := multilang.Tuple{ID: fmt.Sprint(i), Component: "feed", Stream: "default", Task: 1, Values: []any{line}}
		if line == tick {
			tuple.Component, tuple.Stream, tuple.Task, tuple.Values = "__system", "__tick", -1, []any{1}
		}
		b, err := json.Marshal(tuple)
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(b, "\nend\n"...))
	}
	if err := multilang.Run(newCounter(journal), &in, &w); err != nil {
		t.Fatal(err)
	}
	for message := range strings.SplitSeq(w.String(), "\nend\n") {
		var c struct {
			Command string
			Tuple   []string
		}
		json.Unmarshal([]byte(message), &c)
		switch c.Command {
		case "emit":
			emitted = append(emitted, c.Tuple...)
		case "ack":
			acks++
		}
	}
	return emitted, acks, w.String()
}

func TestCounts(t *testing.T) {
	emitted, acks, _ := play(t, "",
		"net/http\t1\tfunc", "net\t1\t", "net\t1\treplayed", "net\t2", tick, // no text is fine
		tick,
		"net\t2\treplayed", "net\t900000000\tx", tick)
	want := []string{"net\t2", "net/http\t1", "net\t3"}
	if diff := cmp.Diff(want, emitted); diff != "" {
		t.Error(diff)
	}
	if acks != 9 {
		t.Errorf("%d acknowledged, want every one", acks)
	}
}

func TestBadLines(t *testing.T) {
	emitted, acks, out := play(t, "", "no tabs", "net\tx\ttext", "\t1\t", strings.Repeat("p", 2000)+"\t1", "net\t1\t", tick, tick)
	if len(emitted) != 1 || acks != 7 {
		t.Errorf("emitted %q, %d acknowledged", emitted, acks)
	}
	if n := strings.Count(out, `"command":"error"`); n != 1 {
		t.Errorf("%d errors reported, want one a tick that saw any", n)
	}
	if !strings.Contains(out, "4 lines left out, the last: ") || !strings.Contains(out, "package name is longer than 1024 bytes") {
		t.Error(out)
	}
}

// A killed bolt goes on where it was, whatever part of a record it left.
func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	play(t, path, "net\t1\t", "net\t2\t", "net/url\t1\t")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("net\t7")
	f.Close()
	emitted, _, out := play(t, path, "net\t2\treplayed", "net\t3\t", tick)
	if diff := cmp.Diff([]string{"net\t3", "net/url\t1"}, emitted); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(out, "3 lines were counted before") {
		t.Error(out)
	}
	b, err := os.ReadFile(path)
	if want := "net\t1\nnet\t2\nnet/url\t1\nnet\t3\n"; err != nil || string(b) != want {
		t.Errorf("journal %q, %v", b, err)
	}
}

func TestJournalRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(path, []byte("net\t1\nrubbish\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		path:              `cannot read journal ` + path + `: cannot read line "rubbish": want package, tab, number, tab, text`,
		"/nonexistent/no": "cannot open journal: open /nonexistent/no: no such file or directory",
	} {
		if _, _, err := openJournal(path, tally{}); err == nil || err.Error() != text {
			t.Errorf("got %v, want %s", err, text)
		}
	}
}

// 150,000 lines, replayed once in part, must take seconds at most.
func BenchmarkLines(b *testing.B) {
	var in bytes.Buffer
	in.WriteString(`{"pidDir":"","conf":{},"context":{}}` + "\nend\n")
	for i := range 150_000 {
		fmt.Fprintf(&in, `{"id":"-695578653741335%d","comp":"feed","stream":"default","task":3,"tuple":["net\/http\t%d\tfunc (c *conn) serve(ctx context.Context) {"]}`+"\nend\n", i, i)
	}
	for b.Loop() {
		var out bytes.Buffer
		c := newCounter(filepath.Join(b.TempDir(), "journal"))
		if err := multilang.Run(c, bytes.NewReader(in.Bytes()), &out); err != nil {
			b.Fatal(err)
		}
		if c.tally["net/http"].total != 150_000 {
			b.Fatal("lines were lost")
		}
	}
}
