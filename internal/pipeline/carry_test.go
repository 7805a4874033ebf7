package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"howdah.dev/howdah/internal/pipeline/count"
)

// awkward draws text that is rich in separators, marks and broken UTF-8.
var awkward = rapid.Custom(func(t *rapid.T) string {
	pieces := rapid.SliceOfN(rapid.SampledFrom([]string{" ", "\t", "\n", "\r", "\r\n", "\f", "a", "b", "\xef\xbb\xbf", "\xef", "\xbb", "\x80", "é"}), 0, 12)
	return strings.Join(pieces.Draw(t, "pieces"), "")
})

// hadoop counts words the way Hadoop does on a part: a byte order mark at its
// start is dropped.
func hadoop(counts map[string]int64, part []byte) {
	text := string(count.Text(bytes.TrimPrefix(part, byteOrderMark)))
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\n\r\f", r) }) {
		counts[w]++
	}
}

// linesIn counts lines that end at \n, \r or \r\n.
func linesIn(text string) int64 {
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	n := int64(strings.Count(text, "\n"))
	if text != "" && !strings.HasSuffix(text, "\n") {
		n++
	}
	return n
}

// Joining files and counting is counting file by file, wherever parts are
// split and however the files are read.
func TestJoiningKeepsWordsAndLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(awkward, 0, 8).Draw(t, "texts")
		wanted, got := map[string]int64{}, map[string]int64{}
		var wantedLines, gotLines, added int64
		var out bytes.Buffer
		j := &joiner{w: &out}
		end := func() {
			hadoop(got, out.Bytes())
			gotLines += linesIn(out.String())
			out.Reset()
			j = &joiner{w: &out}
		}
		for _, text := range texts {
			hadoop(wanted, []byte("\n"+text)) // a file is no part: its mark stays
			wantedLines += linesIn(text)
			if !j.begun && strings.HasPrefix(text, string(byteOrderMark)) {
				added++ // an empty line before the mark
			}
			err := j.join(func(w io.Writer) error {
				for rest := text; rest != ""; {
					n := rapid.IntRange(1, len(rest)).Draw(t, "chunk")
					if _, err := io.WriteString(w, rest[:n]); err != nil {
						return err
					}
					rest = rest[n:]
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if rapid.Bool().Draw(t, "split here") {
				end()
			}
		}
		end()
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Fatal(diff)
		}
		if gotLines != wantedLines+added {
			t.Fatalf("%d lines, want %d", gotLines, wantedLines+added)
		}
	})
}

func TestSplitAndSpread(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.Int64Range(0, 40), 0, 50).Draw(t, "sizes")
		size := rapid.Int64Range(1, 50).Draw(t, "size")
		n := rapid.IntRange(1, 10).Draw(t, "n")
		var files []sourceFile
		var total int64
		for i, s := range sizes {
			files = append(files, sourceFile{rel: fmt.Sprint(i), bytes: s})
			total += s
		}
		whole := func(parts []part) {
			next := 0
			for _, p := range parts {
				var bytes int64
				for _, f := range p.files {
					if f != &files[next] {
						t.Fatalf("file %s is not where it belongs", f.rel)
					}
					bytes += f.bytes
					next++
				}
				if bytes != p.bytes || len(p.files) == 0 {
					t.Fatalf("part %+v is wrong", p)
				}
			}
			if next != len(files) {
				t.Fatalf("%d of %d files are in parts", next, len(files))
			}
		}
		parts := split(files, size)
		whole(parts)
		for _, p := range parts {
			if p.bytes > size && len(p.files) > 1 {
				t.Fatalf("part %s has %d bytes, more than %d", p.name, p.bytes, size)
			}
		}
		spreaded := spread(files, total, n)
		whole(spreaded)
		if len(spreaded) > n {
			t.Fatalf("%d parts, want at most %d", len(spreaded), n)
		}
	})
}

// What is fed has the lines of an independent count, numbered from 1, is valid
// UTF-8, and holds no line end but its own.
func TestFeedLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(awkward, 1, 5).Draw(t, "texts")
		w := &feedWriter{lines: map[string]int64{}}
		var out bytes.Buffer
		var want int64
		var plain []string
		for _, text := range texts {
			want += linesIn(text)
			for l := range strings.Lines(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)) {
				plain = append(plain, string(count.Text([]byte(strings.TrimSuffix(l, "\n")))))
			}
			if err := w.linesOf(&slow{r: strings.NewReader(text)}, "net/http", &out); err != nil {
				t.Fatal(err)
			}
		}
		if w.lines["net/http"] != want || int64(len(plain)) != want {
			t.Fatalf("%d lines, want %d", w.lines["net/http"], want)
		}
		var exact strings.Builder
		for i, text := range plain {
			fmt.Fprintf(&exact, "net/http\t%d\t%s\n", i+1, text)
		}
		if diff := cmp.Diff(exact.String(), out.String()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// slow yields a byte at a time.
type slow struct{ r io.Reader }

func (s *slow) Read(p []byte) (int, error) { return s.r.Read(p[:min(1, len(p))]) }

func sources(t *testing.T, files map[string]string) string {
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

func ingestOf(dir string) *Definition {
	d := &Definition{Name: "test", Warehouse: "w", Steps: []Step{{Name: "in", Ingest: &Ingest{From: dir, Dataset: "/data/in"}}}}
	d.fill()
	return d
}

func TestIngest(t *testing.T) {
	ctx := context.Background()
	big := strings.Repeat("0123456 ", 100_000)
	dir := sources(t, map[string]string{"a/one": "x", "a/two": "y\n", "b": big, "c": big, "empty": ""})
	files := newMemory()
	d := ingestOf(dir)
	d.Steps[0].Ingest.PartMB = 1
	first, err := Run(ctx, Config{Definition: d, Files: files})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := first.Step("in").Figures, (Figures{Files: 5, FilesTotal: 5, Bytes: 1_600_003, BytesTotal: 1_600_003, Parts: 2}); got != want {
		t.Errorf("figures are %+v, want %+v", got, want)
	}
	if diff := cmp.Diff([]string{"_SUCCESS", "part-00000", "part-00001"}, files.names("/data/in")); diff != "" {
		t.Error(diff)
	}
	if got, want := files.get("/data/in/part-00000"), "x\ny\n"+big+"\n"; got != want {
		t.Errorf("part 0 has %d bytes, want %d", len(got), len(want))
	}
	m, err := ReadManifest(ctx, files, "/data/in")
	if err != nil || m.Files != 5 || m.Bytes != 1_600_003 || m.Parts[1] != (ManifestPart{Name: "part-00001", Files: 2, Bytes: 800_001}) {
		t.Errorf("manifest is %+v, %v", m, err)
	}

	files.created = nil
	again, err := Run(ctx, Config{Definition: d, Files: files})
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Step("in").Message; got != "kept: /data/in holds the same input" {
		t.Errorf("the second run said %q", got)
	}
	for _, name := range files.created {
		if within(name, "/data/in") {
			t.Errorf("%s was written again", name)
		}
	}

	for name, spoil := range map[string]func(){
		"other input": func() { _ = os.WriteFile(filepath.Join(dir, "b"), []byte("z"), 0o644) },
		"lost part":   func() { _ = files.Remove(ctx, "/data/in/part-00000") },
		"short part":  func() { files.put("/data/in/part-00000", nil) },
		"no manifest": func() { _ = files.Remove(ctx, "/data/in/_SUCCESS") },
		"other size":  func() { d.Steps[0].Ingest.PartMB = 2 },
	} {
		spoil()
		files.created = nil
		if _, err := Run(ctx, Config{Definition: d, Files: files}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.Contains(strings.Join(files.created, " "), "/data/in/_tmp/part-00000") {
			t.Errorf("%s: the dataset was kept", name)
		}
	}

	files.put("/data/in/mine.txt", nil)
	_ = os.WriteFile(filepath.Join(dir, "b"), []byte("other"), 0o644)
	_, err = Run(ctx, Config{Definition: d, Files: files})
	if got, want := fmt.Sprint(err), "step in: /data/in holds what no ingest wrote: mine.txt; move it away or choose another dataset"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestIngestFaults(t *testing.T) {
	dir := sources(t, map[string]string{"a": strings.Repeat("x", 300_000), "b": "y"})
	refused := errors.New("quota is used up")
	tests := map[string]struct {
		fail func(op, path string) error
		want string
	}{
		"create": {func(op, path string) error {
			if op == "create" && strings.HasSuffix(path, "part-00000") {
				return refused
			}
			return nil
		}, "step in: cannot write /data/in/part-00000: cannot write to the warehouse: quota is used up"},
		"rename": {func(op, path string) error {
			if op == "rename" && strings.HasSuffix(path, "_SUCCESS") {
				return refused
			}
			return nil
		}, "step in: cannot write manifest: quota is used up"},
		"record": {func(op, path string) error {
			if within(path, recordDir) {
				return refused
			}
			return nil
		}, "cannot save run record: cannot write to the warehouse: quota is used up\ncannot save run record: cannot write to the warehouse: quota is used up"},
		"changed": {func(op, path string) error {
			if op == "create" && strings.HasSuffix(path, "part-00000") {
				return os.WriteFile(filepath.Join(dir, "b"), []byte("z"), 0o644)
			}
			return nil
		}, "step in: cannot write /data/in/part-00000: " + dir + "/b changed while the pipeline ran"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_ = os.WriteFile(filepath.Join(dir, "b"), []byte("y"), 0o644)
			files := newMemory()
			files.fail = test.fail
			_, err := Run(context.Background(), Config{Definition: ingestOf(dir), Files: files})
			if diff := cmp.Diff(test.want, fmt.Sprint(err)); diff != "" {
				t.Error(diff)
			}
			files.fail = nil
			if _, err := ReadManifest(context.Background(), files, "/data/in"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the dataset looks complete: %v", err)
			}
		})
	}
}
