package multilang

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// recorder is a bolt that notes what it gets and answers by a script.
type recorder struct {
	setup   Setup
	got     []Tuple
	prepare error
	execute func(Tuple, *Output) error
}

func (r *recorder) Prepare(s Setup, _ *Output) error {
	r.setup = s
	return r.prepare
}

func (r *recorder) Execute(t Tuple, out *Output) error {
	r.got = append(r.got, t)
	if r.execute == nil {
		return out.Ack(t)
	}
	return r.execute(t, out)
}

// dialogue is what a worker sends, message by message.
func dialogue(messages ...string) string {
	return strings.Join(messages, "\nend\n") + "\nend\n"
}

const hello = `{"pidDir":"","conf":{"topology.name":"x"},"context":{"taskid":7,"componentid":"count"}}`

// play runs a bolt on a script and returns what it wrote, our pid as PID.
func play(t *testing.T, b Bolt, messages ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := Run(b, strings.NewReader(dialogue(messages...)), &out)
	return strings.Replace(out.String(), strconv.Itoa(os.Getpid()), "PID", 1), err
}

func TestDialogue(t *testing.T) {
	r := &recorder{execute: func(tup Tuple, out *Output) error {
		switch tup.ID {
		case "1":
			return errors.Join(out.Emit([]any{"a\tb", 2}, tup), out.Ack(tup))
		case "2":
			return out.Fail(tup)
		}
		return errors.Join(out.EmitTo("side", []any{"tick"}), out.Log(LevelWarn, "%d ticks", 1), out.ReportError("oh"))
	}}
	got, err := play(t, r, hello,
		`{"id":"1","comp":"feed","stream":"default","task":3,"tuple":["net\/http\t1\té"]}`,
		`[4,5]`,
		`{"id":"-2","comp":"__system","stream":"__heartbeat","task":-1,"tuple":[]}`,
		"{\"id\":\"2\",\n\"comp\":\"feed\",\"stream\":\"default\",\"task\":3,\"tuple\":[1.5]}",
		`{"id":"3","comp":"__system","stream":"__tick","task":-1,"tuple":[1]}`)
	if err != nil {
		t.Fatal(err)
	}
	want := dialogue(`{"pid":PID}`,
		`{"command":"emit","anchors":["1"],"tuple":["a\tb",2],"need_task_ids":false}`,
		`{"command":"ack","id":"1"}`,
		`{"command":"sync"}`,
		`{"command":"fail","id":"2"}`,
		`{"command":"emit","stream":"side","tuple":["tick"],"need_task_ids":false}`,
		`{"command":"log","msg":"1 ticks","level":3}`,
		`{"command":"error","msg":"oh"}`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	wantTuples := []Tuple{
		{ID: "1", Component: "feed", Stream: "default", Task: 3, Values: []any{"net/http\t1\té"}},
		{ID: "2", Component: "feed", Stream: "default", Task: 3, Values: []any{1.5}},
		{ID: "3", Component: "__system", Stream: "__tick", Task: -1, Values: []any{1.0}},
	}
	if diff := cmp.Diff(wantTuples, r.got); diff != "" {
		t.Error(diff)
	}
	if !r.got[2].IsTick() || r.got[0].IsTick() {
		t.Error("ticks are not told from tuples")
	}
	if r.setup.Conf["topology.name"] != "x" || r.setup.Context != (Context{TaskID: 7, Component: "count"}) {
		t.Errorf("setup = %+v", r.setup)
	}
}

func TestHandshakeLeavesPID(t *testing.T) {
	dir := t.TempDir()
	if _, err := play(t, &recorder{}, fmt.Sprintf(`{"pidDir":%q}`, dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, strconv.Itoa(os.Getpid()))); err != nil {
		t.Error(err)
	}
}

func TestErrors(t *testing.T) {
	for _, test := range []struct {
		bolt     recorder
		messages []string
		text     string
	}{
		{recorder{}, []string{`{"pidDir":"/nonexistent/dir"}`}, "cannot shake hands with the worker: open /nonexistent/dir/PID: no such file or directory"},
		{recorder{}, []string{`{`}, "cannot shake hands with the worker: unexpected end of JSON input"},
		{recorder{prepare: errors.New("no disk")}, []string{hello}, "cannot prepare bolt: no disk"},
		{recorder{}, []string{hello, `{"id":1}`}, "cannot decode tuple: json: cannot unmarshal number into Go struct field Tuple.id of type string"},
		{recorder{execute: func(Tuple, *Output) error { return errors.New("boom") }}, []string{hello, `{"id":"1"}`}, "boom"},
	} {
		out, err := play(t, &test.bolt, test.messages...)
		if err == nil {
			t.Errorf("no error, want %s", test.text)
			continue
		}
		if got := strings.Replace(err.Error(), strconv.Itoa(os.Getpid()), "PID", 1); got != test.text {
			t.Errorf("got %s\nwant %s", got, test.text)
		}
		if !strings.Contains(out, `{"command":"error","msg":"`) {
			t.Errorf("the worker was not told: %s", out)
		}
	}
}

func TestInputEnds(t *testing.T) {
	err := Run(&recorder{}, strings.NewReader(hello+"\nend\n{\"id\""), io.Discard)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut off: %v", err)
	}
	err = Run(&recorder{}, strings.NewReader(hello+"\nend\n"+strings.Repeat("x", maxMessage+1)), io.Discard)
	if !errors.Is(err, errMessageSize) {
		t.Errorf("too long: %v", err)
	}
}

// A line longer than the read buffer is one message all the same.
func TestLongLine(t *testing.T) {
	r := &recorder{}
	long := strings.Repeat("x", 200<<10)
	if _, err := play(t, r, hello, `{"id":"1","tuple":["`+long+`"]}`); err != nil {
		t.Fatal(err)
	}
	if r.got[0].Values[0] != long {
		t.Error("line was damaged")
	}
}

func TestBeforeFlush(t *testing.T) {
	var w writes
	out := newOutput(&w)
	flushes := 0
	out.BeforeFlush(func() error { flushes++; return nil })
	for range 100_000 { // several buffers full
		if err := out.Ack(Tuple{ID: "-6955786537413359385"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.flush(); err != nil {
		t.Fatal(err)
	}
	lines, calls := w.count()
	if lines != 200_000 || calls > 2000 {
		t.Errorf("%d lines in %d writes", lines, calls)
	}
	if flushes != calls {
		t.Errorf("%d writes, %d times prepared", calls, flushes)
	}
	full := errors.New("disk full")
	out.BeforeFlush(func() error { return full })
	out.Ack(Tuple{ID: "1"})
	if err := out.flush(); !errors.Is(err, full) {
		t.Error(err)
	}
	if after, _ := w.count(); after != lines {
		t.Error("an acknowledgement left without its record")
	}
	if err := out.Ack(Tuple{ID: "2"}); !errors.Is(err, full) {
		t.Errorf("failure was forgotten: %v", err)
	}
}

// An acknowledgement leaves by itself, without another message behind it.
func TestLinger(t *testing.T) {
	r, w := io.Pipe()
	defer r.Close()
	out := newOutput(w)
	out.Ack(Tuple{ID: `odd "id"`})
	got := make(chan string)
	go func() {
		b := make([]byte, 100)
		n, _ := r.Read(b)
		got <- string(b[:n])
	}()
	select {
	case s := <-got:
		if want := dialogue(`{"command":"ack","id":"odd \"id\""}`); s != want {
			t.Errorf("got %q", s)
		}
	case <-time.After(time.Minute):
		t.Error("nothing was written")
	}
}

func TestWriterFails(t *testing.T) {
	broken := func() io.Writer { r, w := io.Pipe(); r.Close(); return w }()
	if err := Run(&recorder{}, iotest.OneByteReader(strings.NewReader(dialogue(hello))), broken); err == nil {
		t.Error("no error")
	}
}

// writes counts lines and calls.
type writes struct {
	mu           sync.Mutex
	lines, calls int
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines += bytes.Count(p, []byte("\n"))
	w.calls++
	return len(p), nil
}

func (w *writes) count() (lines, calls int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lines, w.calls
}
