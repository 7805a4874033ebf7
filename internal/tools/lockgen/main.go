package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: lockgen FILE.roots...")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	for _, file := range os.Args[1:] {
		if err := generate(ctx, file); err != nil {
			stop()
			fmt.Fprintln(os.Stderr, "lockgen:", err)
			os.Exit(1)
		}
	}
	stop()
}

// generate writes the lock beside one roots file.
func generate(ctx context.Context, file string) error {
	base, ok := strings.CutSuffix(file, ".roots")
	if !ok {
		return fmt.Errorf("%s does not end in .roots", file)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	rf, err := parseRoots(file, data)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "lockgen-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	mvn, err := newMaven(ctx, tmp)
	if err != nil {
		return err
	}
	var lines []line
	for i, s := range rf.Sections {
		files, err := mvn.section(ctx, i, s)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		l, err := sectionLines(mvn.repo, s, files)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		lines = append(lines, l...)
	}
	if err := checkPaths(lines); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(base+".lock", render(filepath.Base(file), rf.Header, lines), 0o644)
}

// line is one line of the lock.
type line struct {
	Path, Source, SHA, Licence string
	Size                       int64
}

func sectionLines(repo string, s section, files []resolved) ([]line, error) {
	named := map[coord]root{}
	for _, r := range s.Roots {
		named[r.Coord] = r
	}
	var out []line
	for _, f := range files {
		if s.dropped(f.Coord) {
			continue
		}
		size, sum, err := digest(f.File)
		if err != nil {
			return nil, err
		}
		r := named[f.Coord]
		delete(named, f.Coord)
		l := line{Path: s.Dir + f.Coord.fileName(), Source: "mvn:" + f.Coord.String(), SHA: sum, Size: size, Licence: licenceOf(repo, f)}
		if r.Name != "" {
			l.Path = s.Dir + r.Name
		}
		if r.Unpack {
			l.Path = s.Dir
			if r.Prefix != "" {
				l.Source += "!/" + r.Prefix
			}
		}
		out = append(out, l)
	}
	for c := range named {
		return nil, fmt.Errorf("Maven resolved another version than %s in %s: pin it, or give it a section of its own", c, s.Dir)
	}
	return out, nil
}

// checkPaths refuses two lines for one file (the same artifact name from two groups).
func checkPaths(lines []line) error {
	seen := map[string]string{}
	for _, l := range lines {
		if other, dup := seen[l.Path]; dup && !strings.HasSuffix(l.Path, "/") {
			return fmt.Errorf("%s comes from both %s and %s", l.Path, other, l.Source)
		}
		seen[l.Path] = l.Source
	}
	return nil
}

func digest(file string) (int64, string, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return n, fmt.Sprintf("%x", h.Sum(nil)), err
}

func render(from string, header []string, lines []line) []byte {
	var b bytes.Buffer
	for _, h := range header {
		fmt.Fprintln(&b, h)
	}
	blobs := map[string]int64{}
	for _, l := range lines {
		blobs[l.SHA] = l.Size
	}
	var total int64
	for _, n := range blobs {
		total += n
	}
	fmt.Fprintf(&b, "# Generated from %s by internal/tools/lockgen; do not edit.\n", from)
	fmt.Fprintf(&b, "# %d files, %d bytes to fetch. Columns: path, source, size, digest, licence (an SPDX expression).\n", len(lines), total)
	w := tabwriter.NewWriter(&b, 0, 1, 2, ' ', 0)
	for _, l := range lines {
		fmt.Fprintf(w, "%s\t%s\t%d\tsha256:%s\t%s\n", l.Path, l.Source, l.Size, l.SHA, l.Licence)
	}
	_ = w.Flush() // a buffer does not fail
	return b.Bytes()
}
