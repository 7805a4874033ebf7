package count

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// testdata/text.tsv.gz was written by Hadoop's own Text.
func TestTextIsHadoops(t *testing.T) {
	f, err := os.Open("testdata/text.tsv.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	cases, bad := 0, 0
	for s := bufio.NewScanner(z); s.Scan(); cases++ {
		in, want, _ := strings.Cut(s.Text(), "\t")
		b, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(Text(b)); got != want && bad < 10 {
			t.Errorf("Text(%s) = %s, Hadoop's is %s", in, got, want)
			bad++
		}
	}
	if cases < 20000 {
		t.Errorf("only %d cases read", cases)
	}
}

// awkward draws bytes that are rich in separators and broken UTF-8.
func awkward(most int) *rapid.Generator[[]byte] {
	return rapid.SliceOfN(rapid.SampledFrom([]byte(" \t\n\r\f\v\x00ab\x80\x8f\x90\xa0\xbf\xc0\xc2\xe0\xe2\xed\xef\xf0\xf4\xf5\xff")), 0, most)
}

func asMap(t *Table) map[string]int64 {
	words := map[string]int64{}
	for word, slot := range t.All() {
		words[word] = t.Times(slot)
	}
	return words
}

// fields is the definition of a word, from the whole text at once.
func fields(text string) map[string]int64 {
	words := map[string]int64{}
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\n\r\f", r) }) {
		words[w]++
	}
	return words
}

func TestWordsHoweverChunked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := awkward(200).Draw(t, "text")
		c := newWordCounter()
		for rest := text; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "chunk")
			if err := c.add(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		c.end()
		// Java decodes a line before it looks for words, we after: no difference.
		if diff := cmp.Diff(fields(string(Text(text))), asMap(&c.table)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestLinesHoweverChunked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(rapid.SampledFrom([]byte("\n\ra")), 0, 40).Draw(t, "text")
		var c lineCounter
		for rest := text; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "chunk")
			_ = c.add(rest[:n])
			rest = rest[n:]
		}
		plain := bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
		want := int64(bytes.Count(plain, []byte("\n")))
		if len(plain) > 0 && plain[len(plain)-1] != '\n' {
			want++
		}
		if got := c.end(); got != want {
			t.Fatalf("%q has %d lines, want %d", text, got, want)
		}
	})
}

func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTree(t *testing.T) {
	dir := tree(t, map[string]string{
		"net/a.go":      "one two",
		"net/b.go":      "two\n",
		"net/http/c.go": "three\r\nfour\rfive",
		"net/http/d.md": "not counted",
		"net/empty.go":  "",
		"void/empty.go": "",
	})
	if err := os.Symlink(filepath.Join(dir, "net"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a.go", filepath.Join(dir, "net", "z.go")); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	var read int64
	words, err := Words(ctx, Tree{Root: dir, Match: "*.go"}, func(n int64) { read += n })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int64{"one": 1, "two": 2, "three": 1, "four": 1, "five": 1}, asMap(words)); diff != "" {
		t.Error(diff)
	}
	if _, n, ok := words.Find([]byte("two")); n != 2 || !ok || words.Len() != 5 || words.Sum() != 6 {
		t.Errorf("two is there %d times, of %d and %d words", n, words.Len(), words.Sum())
	}
	if read != 27 {
		t.Errorf("%d bytes were read, want 27", read)
	}
	lines, err := Lines(ctx, Tree{Root: filepath.Join(dir, "link"), Match: "*.go"}, "net")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int64{"net": 2, "net/http": 3}, lines); diff != "" {
		t.Error(diff)
	}
}
