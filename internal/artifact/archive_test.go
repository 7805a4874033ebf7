package artifact

import (
	"compress/gzip"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeJDK is a JDK whose java is a script; $@ are the arguments of the dump.
func fakeJDK(t *testing.T, script string) string {
	t.Helper()
	home := t.TempDir()
	for _, f := range []string{"lib/modules", "lib/server/libjvm.so"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(home, f)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, f), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(home, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "bin/java"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return home
}

func archiveRequest(t *testing.T, home string) ArchiveRequest {
	t.Helper()
	key, err := JDKKey(home)
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(t.TempDir(), "classes.gz")
	f, err := os.Create(list)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	_, _ = z.Write([]byte("java/lang/Object\njava/lang/String\n"))
	z.Close()
	f.Close()
	return ArchiveRequest{SetID: sumA, Name: "daemon", JavaHome: home, JDKKey: key, Classpath: []string{"/x/a.jar"}, ClassList: list}
}

const writeArchive = `for a; do case $a in
-XX:SharedArchiveFile=*) out=${a#*=};; -XX:SharedClassListFile=*) list=${a#*=};; esac; done
cat "$list" > "$out"; nice >> "$out"
`

func TestBuildArchive(t *testing.T) {
	priority := func() string {
		out, err := exec.Command("nice").Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	was := priority()
	c := New(Config{Dir: t.TempDir()})
	req := archiveRequest(t, fakeJDK(t, writeArchive))
	if err := c.BuildArchive(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	path := ArchivePath(c.cfg.Dir, req.SetID, "daemon", req.JDKKey)
	data, err := os.ReadFile(path)
	if want := "java/lang/Object\njava/lang/String\n19\n"; err != nil || string(data) != want {
		t.Errorf("%q, %v", data, err)
	}
	before, _ := os.Stat(path)
	if err := c.BuildArchive(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.Stat(path); !os.SameFile(before, after) {
		t.Error("built twice")
	}
	if now := priority(); now != was {
		t.Errorf("this process runs at priority %s now, before at %s", now, was)
	}
}

func TestBuildArchiveFailureIsRemembered(t *testing.T) {
	c := New(Config{Dir: t.TempDir()})
	count := filepath.Join(t.TempDir(), "count")
	req := archiveRequest(t, fakeJDK(t, "echo x >> "+count+"; echo 'Error occurred during initialization of VM'; echo 'no room'; exit 1"))
	base := strings.TrimSuffix(ArchivePath(c.cfg.Dir, req.SetID, req.Name, req.JDKKey), ".jsa")
	want := "the class-data archive cannot be built: java -Xshare:dump: exit status 1 (no room); see " + base + ".log; delete " + base + ".failed to try again"
	for range 3 {
		var failed *ArchiveFailedError
		if err := c.BuildArchive(t.Context(), req); !errors.As(err, &failed) || err.Error() != want {
			t.Errorf("error %v\nwant  %s", err, want)
		}
	}
	if data, _ := os.ReadFile(count); string(data) != "x\n" {
		t.Errorf("java ran %d times, want once", len(data)/2)
	}
}

func TestBuildArchiveBusyAndCancelled(t *testing.T) {
	c := New(Config{Dir: t.TempDir()})
	started := filepath.Join(t.TempDir(), "started")
	req := archiveRequest(t, fakeJDK(t, "touch "+started+"; sleep 300 & wait"))
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() { done <- c.BuildArchive(ctx, req) }()
	for range 6000 {
		if _, err := os.Stat(started); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	other := req
	other.Name = "worker"
	if err := New(c.cfg).BuildArchive(t.Context(), other); !errors.Is(err, ErrArchiveBusy) {
		t.Error(err)
	}
	cancel(errors.New("the agent stops"))
	err := <-done
	if want := "cannot build class-data archive daemon: the agent stops"; err == nil || err.Error() != want {
		t.Error(err)
	}
	left, _ := filepath.Glob(filepath.Join(c.cfg.Dir, "sets", "*.cds", "*"))
	if len(left) != 1 || !strings.HasSuffix(left[0], ".log") {
		t.Error("a cancelled build is no failure, but it left", left)
	}
}

func TestBuildArchiveChecks(t *testing.T) {
	good := archiveRequest(t, fakeJDK(t, ""))
	for _, tt := range []struct {
		name string
		edit func(*ArchiveRequest)
		want string
	}{
		{"set", func(r *ArchiveRequest) { r.SetID = "../x" }, `cannot build a class-data archive: "../x" is not the id of a set`},
		{"name", func(r *ArchiveRequest) { r.Name, r.JDKKey = "a/b", "k" }, `cannot build a class-data archive: name "a/b" or JDK key "k" is not a plain word`},
		{"classpath", func(r *ArchiveRequest) { r.Classpath = nil }, "cannot build a class-data archive: the classpath is empty"},
		{"folder", func(r *ArchiveRequest) { r.Classpath = []string{"/etc/conf"} }, "cannot build a class-data archive: /etc/conf on the classpath is not a jar: folders belong after the jars, and not here"},
		{"jdk", func(r *ArchiveRequest) { r.JavaHome = "/no/such" }, "cannot build a class-data archive: there is no JDK in /no/such"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := good
			tt.edit(&req)
			if err := New(Config{Dir: t.TempDir()}).BuildArchive(t.Context(), req); err == nil || err.Error() != tt.want {
				t.Errorf("error %v\nwant  %s", err, tt.want)
			}
		})
	}
}

// A real JDK builds an archive over a set's jar and runs with it; the order of
// a wildcard classpath is the launcher's.
func TestRealArchive(t *testing.T) {
	java, err := exec.LookPath("java")
	if err != nil || testing.Short() {
		t.Skip("needs a JDK")
	}
	java, _ = filepath.EvalSymlinks(java)
	home := filepath.Dir(filepath.Dir(java))
	if _, err := os.Stat(filepath.Join(home, "bin/jar")); err != nil {
		t.Skip("needs a JDK, not only a JRE")
	}
	src := t.TempDir()
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(filepath.Join(home, "bin", name), args...)
		cmd.Dir = src
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return string(out)
	}
	content := map[string][]byte{}
	var paths []string
	for _, n := range []string{"C", "A", "B"} {
		if err := os.WriteFile(filepath.Join(src, n+".java"), []byte("public class "+n+` { public static void main(String[] a) throws Exception { System.out.println(new String(java.nio.file.Files.readAllBytes(java.nio.file.Path.of("/proc/self/maps")))); } }`), 0o644); err != nil {
			t.Fatal(err)
		}
		run("javac", n+".java")
		run("jar", "cf", n+".jar", n+".class")
		data, err := os.ReadFile(filepath.Join(src, n+".jar"))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, "lib/"+n+".jar")
		content["lib/"+n+".jar"] = data
	}
	l := testLock(t, paths, content)
	c := New(Config{Dir: t.TempDir()})
	putAll(t, c, content)
	root, err := c.Materialise(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	wild, err := WildcardJars(filepath.Join(root, "lib"))
	if err != nil {
		t.Fatal(err)
	}
	req := archiveRequest(t, home)
	req.SetID = l.ID()
	if err := os.WriteFile(req.ClassList, []byte("java/lang/Object\nA\nB\nC\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, cp := range map[string]struct {
		jars []string
		arg  string
	}{
		"lock": {l.Classpath(root, "lib"), strings.Join(l.Classpath(root), ":") + ":" + src},
		"wild": {wild, filepath.Join(root, "lib") + "/*:" + src},
	} {
		req.Name, req.Classpath = name, cp.jars
		if err := c.BuildArchive(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		jsa := ArchivePath(c.cfg.Dir, l.ID(), name, req.JDKKey)
		// -Xshare:on makes it an error if the archive does not fit.
		if out := run("java", "-Xshare:on", "-XX:SharedArchiveFile="+jsa, "-cp", cp.arg, "A"); !strings.Contains(out, jsa) {
			t.Errorf("%s: %s is not in the memory map", name, jsa)
		}
	}
}
