package untrusted_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"howdah.dev/howdah/internal/untrusted"
)

func TestEntryPath(t *testing.T) {
	for name, want := range map[string]string{".": ".", "./": ".", "": ".", "a": "a", "./a//b/": "a/b", "a..b/..c": "a..b/..c", strings.Repeat("d/", 127) + "x": strings.Repeat("d/", 127) + "x"} {
		if got, err := untrusted.EntryPath(name, "set"); err != nil || got != want {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{
		"/a": `the entry "/a" would be written outside the set`, "..": `the entry ".." would be written outside the set`, "a/../b": `the entry "a/../b" would be written outside the set`,
		"a\x00": `the entry "a\x00" would be written outside the set`, strings.Repeat("n", 5000): `the entry "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"... has a path of 5000 bytes; 4096 are allowed`,
	} {
		if _, err := untrusted.EntryPath(name, "set"); err == nil || err.Error() != want {
			t.Errorf("%.20q: %v", name, err)
		}
	}
}

func TestReader(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	r := untrusted.Reader(ctx, strings.NewReader("abc"))
	if n, err := r.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Error(n, err)
	}
	gone := errors.New("gone")
	cancel(gone)
	if _, err := io.ReadAll(r); !errors.Is(err, gone) {
		t.Error(err)
	}
}
