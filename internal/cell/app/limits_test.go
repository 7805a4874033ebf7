package app

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/instance"
)

// TestBounds: what is too much is refused, in an answer of bounded size.
func TestBounds(t *testing.T) {
	repeat := func(format string, n int) string {
		var b strings.Builder
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for _, c := range []struct{ name, body, want string }{
		{"labels", `{"id": "a", "cmd": "x", "labels": {` + repeat(`"l%d": ""`, 5000) + `}}`, "/labels it has 5000 members, at most 4096 may be"},
		{"variables", `{"id": "a", "cmd": "x", "env": {` + repeat(`"l%d": ""`, 5000) + `}}`, "/env it has 5000 members, at most 4096 may be"},
		{"a label's name", `{"id": "a", "cmd": "x", "labels": {"` + strings.Repeat("l", 2000) + `": ""}}`, "its name has 2000 bytes, at most 1024 may be, and no NUL"},
		{"a command", `{"id": "a", "cmd": "` + strings.Repeat("x", 70_000) + `"}`, "wanted is a text of at most 65536 bytes"},
		{"an id", `{"id": "` + strings.Repeat("a", 181) + `", "cmd": "x"}`, "/id must be at most 180 characters long, with its groups"},
		{"the whole app", `{"id": "a", "cmd": "x", "labels": {` + repeat(`"l%d": "`+strings.Repeat("x", 60_000)+`"`, 9) + `}}`, "bytes as JSON, at most 524288 may be"},
		{"instances", `{"id": "a", "cmd": "x", "instances": 1000001}`, "wanted is a whole number of at most 1000000"},
		{"a number", `{"id": "a", "cmd": "x", "mem": 1e999}`, "wanted is a number a computer can hold"},
		{"NUL", `{"id": "a", "cmd": "x\u0000y"}`, "wanted is a text without NUL"},
		{"unknown fields", `{"id": "a", "cmd": "x", ` + repeat(`"unknown%d": 1`, 50_000) + `}`, "and 49000 more"},
		{"not UTF-8", "{\"id\": \"\xff\"}", "the body is not UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			err := create(c.body)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%.300v, want %s", err, c.want)
			}
			if out := answer(t, err); len(out) > 400<<10 {
				t.Errorf("the answer has %d bytes", len(out))
			}
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestLongestTaskID: the id of a task of an app that is allowed can be a folder.
func TestLongestTaskID(t *testing.T) {
	a := mustRead(t, `{"id": "/`+strings.Repeat("a", maxID-1)+`", "cmd": "x"}`)
	i := instance.Instance{ID: instance.NewID(a.ID), Incarnation: 1 << 31}
	if n := len(i.TaskID()); n > 255 {
		t.Errorf("it has %d bytes", n)
	}
}

// TestManyValues: each value costs far more memory than its text.
func TestManyValues(t *testing.T) {
	_, err := ReadUpdates([]byte("[" + strings.Repeat("0,", maxValues) + "0]"))
	if want := "The body holds more than 1000000 values"; err == nil || err.Status != 422 || err.Message != want {
		t.Errorf("%+v, want %s", err, want)
	}
}
