package artifact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const cliLine = "lib/commons-cli.jar mvn:commons-cli:commons-cli:1.9.0 75479 sha256:" + sumA + " Apache-2.0\n"

func TestResolveFilesAndURLs(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789"), 1000)
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/big" {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(big))
	}))
	defer srv.Close()
	l := mustParse(t, fmt.Sprintf("a file:x/a 3 sha256:%s MIT\nb %s/big %d sha256:%s MIT\n", digestOf([]byte("aaa")), srv.URL, len(big), digestOf(big)))
	l.Files = fstest.MapFS{"x/a": {Data: []byte("aaa")}}
	c := New(Config{Dir: t.TempDir(), HTTP: srv.Client()})
	var seen []Progress
	if err := c.Resolve(t.Context(), []*Lock{l}, func(p Progress) { seen = append(seen, p) }); err != nil {
		t.Fatal(err)
	}
	want := []Progress{{"x", 0, 10003, 0, 2}, {"x", 3, 10003, 1, 2}, {"x", 10003, 10003, 2, 2}}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Error(diff)
	}
	if err := c.Resolve(t.Context(), []*Lock{l}, nil); err != nil {
		t.Error(err)
	}
}

func TestResolveErrors(t *testing.T) {
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	defer srv.Close()
	l := mustParse(t, fmt.Sprintf("a file:x/a 3 sha256:%s MIT\nb %s/gone 5 sha256:%s MIT\nc file:c 3 sha256:%064d MIT\n", sumA, srv.URL, sumB, 1))
	l.Files = fstest.MapFS{"x/a": {Data: []byte("aaa")}}
	err := New(Config{Dir: t.TempDir(), HTTP: srv.Client()}).Resolve(t.Context(), []*Lock{l}, nil)
	want := "cannot resolve set x: file:x/a has digest sha256:" + digestOf([]byte("aaa")) + " where the lock says sha256:" + sumA + "\n" +
		"cannot resolve file:c of set x: open c: file does not exist\n" +
		"cannot resolve set x: cannot fetch " + srv.URL + "/gone: the server answers 404 Not Found"
	if err == nil || err.Error() != want {
		t.Errorf("error %v\nwant  %s", err, want)
	}
}

// fakeMaven writes a script that answers as Maven does when something outside
// is wrong; the outputs are recorded ones. The home holds no local repository.
func fakeMaven(t *testing.T, script string) Config {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	file := filepath.Join(t.TempDir(), "mvn")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return Config{Dir: t.TempDir(), Maven: file}
}

func TestMavenErrors(t *testing.T) {
	const (
		one = "lib/a.jar mvn:g.h:a:1.0 10 sha256:" + sumA + " MIT\n"
		two = one + "lib/b.jar mvn:g.h:b:1.0 10 sha256:" + sumB + " MIT\n"
	)
	say := func(lines ...string) string {
		return "cat <<'EOF'\n" + strings.Join(lines, "\n") + "\nEOF\nexit 1\n"
	}
	for _, tt := range []struct{ name, lock, script, want string }{
		{
			"no java", one, say("Error: JAVA_HOME is not defined correctly.", "  We cannot execute /x/bin/java"),
			"Maven cannot fetch g.h:a:1.0: it finds no Java; install a JDK, or set JAVA_HOME to one",
		},
		{
			"no java at all", one, say("The JAVA_HOME environment variable is not defined correctly,", "this environment variable is needed to run this program."),
			"Maven cannot fetch g.h:a:1.0: it finds no Java; install a JDK, or set JAVA_HOME to one",
		},
		{
			"unreachable", two, say("[ERROR] Failed to execute goal org.apache.maven.plugins:maven-dependency-plugin:2.10:get (a1) on project m1: Couldn't download artifact: Could not transfer artifact g.h:b:jar:1.0 from/to central (https://registry.invalid): Transfer failed for https://registry.invalid/g/h/b/1.0/b-1.0.jar: Unknown host registry.invalid: Name or service not known -> [Help 1]", "[ERROR] "),
			"Maven cannot fetch g.h:b:1.0 and 1 more: the registry cannot be reached (Unknown host registry.invalid); check the network and the mirrors and proxies in the settings.xml of Maven, then try again: what was fetched is kept",
		},
		{
			"absent", one, say("[ERROR] Failed to execute goal x:get: Could not find artifact g.h:a:jar:1.0 in central (https://registry.invalid) -> [Help 1]"),
			"Maven cannot fetch g.h:a:1.0: no registry has it; check the coordinates in the lock, and that the mirrors in the settings.xml of Maven serve Maven Central",
		},
		{
			"offline", one, say("[ERROR] Cannot access central (https://registry.invalid) in offline mode and the artifact g.h:a:jar:1.0 has not been downloaded from it before. -> [Help 1]"),
			"Maven cannot fetch g.h:a:1.0: it is set to offline mode; take <offline> out of the settings.xml of Maven, or import a cache that was exported elsewhere",
		},
		{
			"settings", one, say("[ERROR] Error executing Maven.", "[ERROR] 1 problem was encountered while building the effective settings", "[FATAL] Non-parseable settings /x/settings.xml: unexpected character @ /x/settings.xml"),
			"Maven cannot fetch g.h:a:1.0: its settings file cannot be read (Non-parseable settings /x/settings.xml); correct the settings.xml of Maven",
		},
		{
			"disk", one, say("[ERROR] Could not transfer artifact g.h:a:jar:1.0: No space left on device -> [Help 1]"),
			"Maven cannot fetch g.h:a:1.0: the disk of its local repository is full; make room, then try again",
		},
		{
			"unknown", one, say("[ERROR] Something   odd -> [Help 1]", "[ERROR] \tat java.lang.Thread.run"),
			"Maven cannot fetch g.h:a:1.0: Something odd; try the same with mvn dependency:get to see more",
		},
		{"nothing said", one, "exit 3", "Maven cannot fetch g.h:a:1.0: exit status 3; try the same with mvn dependency:get to see more"},
		{"lies", one, "exit 0", "cannot resolve set x: Maven reported success but left no mvn:g.h:a:1.0 in its local repository"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := New(fakeMaven(t, tt.script)).Resolve(t.Context(), []*Lock{mustParse(t, tt.lock)}, nil)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v\nwant  %s", err, tt.want)
			}
		})
	}
}

func TestMavenAbsent(t *testing.T) {
	cfg := fakeMaven(t, "")
	cfg.Maven = "no-such-maven"
	err := New(cfg).Resolve(t.Context(), []*Lock{mustParse(t, cliLine)}, nil)
	want := "cannot resolve set x: there is no Maven (no-such-maven) on the PATH to fetch commons-cli:commons-cli:1.9.0: install Maven 3.6.3 or newer, or import a cache that was exported elsewhere"
	if err == nil || err.Error() != want {
		t.Errorf("error %v\nwant  %s", err, want)
	}
}

// A file in the local repository with another content is not used; Maven
// does not replace it, and the user learns both digests and the file.
func TestMavenWrongDigest(t *testing.T) {
	cfg := fakeMaven(t, `printf %s "$HOME/.m2/repository" > "$(dirname "$8")/repository.txt"`+"\nexit 0\n")
	home, _ := os.UserHomeDir()
	file := filepath.Join(home, ".m2/repository/g/h/a/1.0/a-1.0.jar")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("0123456789"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := New(cfg).Resolve(t.Context(), []*Lock{mustParse(t, good)}, nil)
	want := "cannot resolve set x: mvn:g.h:a:1.0 has digest sha256:" + digestOf([]byte("0123456789")) + " where the lock says sha256:" + sumA +
		": the file " + file + " or the registry's is another one; if the file is damaged, delete it and try again"
	if err == nil || err.Error() != want {
		t.Errorf("error %v\nwant  %s", err, want)
	}
}

// A cancelled context ends Maven and the JVM it started.
func TestMavenCancelled(t *testing.T) {
	cfg := fakeMaven(t, "sleep 300 &\necho $! > \"$(dirname \"$8\")/../../child\"\nwait\n")
	ctx, cancel := context.WithCancelCause(t.Context())
	child := 0
	go func() {
		for range 6000 {
			time.Sleep(10 * time.Millisecond)
			if data, err := os.ReadFile(filepath.Join(cfg.Dir, "child")); err == nil && len(data) > 1 {
				child, _ = strconv.Atoi(strings.TrimSpace(string(data)))
				break
			}
		}
		cancel(errors.New("the server stops"))
	}()
	err := New(cfg).Resolve(ctx, []*Lock{mustParse(t, good)}, nil)
	if want := "cannot resolve artifacts: the server stops"; err == nil || err.Error() != want {
		t.Error(err)
	}
	if child == 0 {
		t.Fatal("the script did not run")
	}
	for range 6000 {
		if state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child)); err != nil || strings.Contains(string(state), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	_ = syscall.Kill(child, syscall.SIGKILL)
	t.Error("the child of Maven lives on")
}

// The real Maven, with a local repository of the test's own so that it must fetch.
func TestRealMaven(t *testing.T) {
	if testing.Short() {
		t.Skip("fetches with the real Maven")
	}
	if _, err := exec.LookPath("mvn"); err != nil {
		t.Skip("no Maven here")
	}
	repo := t.TempDir()
	t.Setenv("HOME", t.TempDir()) // hides the user's repository from the guess; Maven asks the system, not the environment
	t.Setenv("MAVEN_OPTS", os.Getenv("MAVEN_OPTS")+" -Dmaven.repo.local="+repo)
	data, err := os.ReadFile("testdata/real.lock")
	if err != nil {
		t.Fatal(err)
	}
	l, diags := ParseLock("testdata/real.lock", data)
	if diags != nil {
		t.Fatal(diags)
	}
	c := New(Config{Dir: t.TempDir()})
	var last Progress
	if err := c.Resolve(t.Context(), []*Lock{l}, func(p Progress) { last = p }); err != nil {
		t.Fatal(err)
	}
	if last.DoneBytes != l.Size() || last.DoneFiles != 2 {
		t.Errorf("progress %+v", last)
	}
	if _, err := c.Materialise(t.Context(), l); err != nil {
		t.Error(err)
	}
}
