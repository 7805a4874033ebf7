package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRotate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if moved, err := Rotate(path, 10, 2); moved > 0 || err != nil {
		t.Fatalf("missing log: %v, %v", moved, err)
	}
	writer, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	want := func(suffix, content string) {
		t.Helper()
		if b, err := os.ReadFile(path + suffix); string(b) != content || err != nil {
			t.Errorf("%s holds %q, %v; want %q", suffix, b, err, content)
		}
	}
	fmt.Fprint(writer, "0123456789")
	if moved, err := Rotate(path, 10, 2); moved > 0 || err != nil {
		t.Fatalf("not larger: %v, %v", moved, err)
	}
	for _, add := range []string{"a", "second line", "third one here", "the fourth line"} {
		fmt.Fprint(writer, add)
		if moved, err := Rotate(path, 10, 2); moved == 0 || err != nil {
			t.Fatalf("%s: %v, %v", add, moved, err)
		}
	}
	want("", "")
	want(".1", "the fourth line")
	want(".2", "third one here")
	fmt.Fprint(writer, "next")
	want("", "next") // at the beginning, no hole
	for _, gone := range []string{".3", ".part"} {
		if _, err := os.Stat(path + gone); err == nil {
			t.Errorf("%s exists", gone)
		}
	}
	if moved, err := Rotate(path, 1, 0); moved == 0 || err != nil {
		t.Fatal(err)
	}
	want("", "")
	want(".1", "the fourth line")
}

func TestRotateRefuses(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/dev/null", link); err != nil {
		t.Fatal(err)
	}
	if _, err := Rotate(link, 0, 1); err == nil {
		t.Error("rotated a symbolic link")
	}
	if _, err := Rotate(dir, 0, 1); err == nil {
		t.Error("rotated a directory")
	}
	if _, err := Rotate("/dev/null", 0, 1); err == nil || err.Error() != "cannot rotate /dev/null: not a regular file" {
		t.Errorf("got %v", err)
	}
}

// A real writer goes on through many rotations: lines stay in order, and none
// is lost where the file system allows.
func TestRotateUnderAWriter(t *testing.T) {
	const lines, rotations = 20000, 20
	spec := shell(t, `i=0; while [ $i -lt `+fmt.Sprint(lines)+` ]; do echo "line $i of the log"; i=$((i+1)); done`)
	p := started(t, spec)
	n := 0
	for n < rotations {
		if moved, err := Rotate(spec.Output, 4096, rotations+1); err != nil {
			t.Fatal(err)
		} else if moved > 0 {
			n++
		} else if p.finished() {
			break
		}
	}
	if exit := waitExit(t, p); !exit.Success() {
		t.Fatal(exit)
	}
	var all strings.Builder
	for i := n; i >= 0; i-- {
		path := spec.Output
		if i > 0 {
			path = numbered(path, i)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	next, lost, torn := 0, 0, 0
	for line := range strings.Lines(all.String()) {
		if start := strings.LastIndex(line, "line "); start > 0 {
			torn++
			line = line[start:]
		}
		var i int
		if _, err := fmt.Sscanf(line, "line %d of the log\n", &i); err != nil {
			torn++
			continue
		}
		if i < next {
			t.Fatalf("line %d after %d", i, next-1)
		}
		lost += i - next
		next = i + 1
	}
	if next != lines {
		t.Errorf("ended at line %d", next)
	}
	t.Logf("%d rotations, %d of %d lines lost, %d torn", n, lost, lines, torn)
	if lossless := canCutHead(t); lossless && lost+torn > 0 || lost > lines/10 || torn > n/4 {
		t.Errorf("lost %d lines and tore %d in %d rotations (lossless: %v)", lost, torn, n, lossless)
	}
}

func canCutHead(t *testing.T) bool {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "probe"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	return cutHead(f, 1<<20) > 0
}
