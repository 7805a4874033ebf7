package host

import (
	"context"
	"errors"
	"fmt"
	maps0 "maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// world is a fake machine: files below a root (programs end in *, links start
// with "-> "), an environment and scripted programs.
type world struct {
	t     *testing.T
	root  string
	env   map[string]string
	runs  map[string]func(Command) (string, error) // by the start of the command line
	ran   []string
	slept time.Duration
	uid   int
	cpus  int
	free  int64
}

func newWorld(t *testing.T, files map[string]string) *world {
	w := &world{
		t: t, root: t.TempDir(), env: map[string]string{"PATH": "/usr/local/bin:/usr/bin", "HOME": "/home/u"},
		runs: map[string]func(Command) (string, error){}, cpus: 8,
	}
	for name, content := range files {
		w.file(name, content)
	}
	return w
}

func (w *world) file(name, content string) {
	w.t.Helper()
	mode := os.FileMode(0o644)
	if before, ok := strings.CutSuffix(name, "*"); ok {
		name, mode = before, 0o755
	}
	path := filepath.Join(w.root, name)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if target, ok := strings.CutPrefix(content, "-> "); err == nil && ok {
		err = os.Symlink(target, path)
	} else if err == nil {
		err = os.WriteFile(path, []byte(content), mode)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	if mode == 0o644 && !strings.HasPrefix(content, "-> ") {
		stamp := time.Unix(1700000000, 0)
		if err := os.Chtimes(path, stamp, stamp); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) host() *Host {
	return New(Config{
		Root: w.root, CPUs: w.cpus, UID: &w.uid,
		Getenv: func(name string) string { return w.env[name] },
		Statfs: func(string) (int64, int64, error) { return w.free, 2 * w.free, nil },
		Sleep:  func(_ context.Context, d time.Duration) error { w.slept += d; return nil },
		Run: func(_ context.Context, c Command) (string, error) {
			line := strings.Join(c.Args, " ")
			w.ran = append(w.ran, line)
			best := ""
			for start := range w.runs {
				if strings.HasPrefix(line, start) && len(start) > len(best) {
					best = start
				}
			}
			if best == "" {
				return "", fmt.Errorf("no such program: %s", line)
			}
			out, err := w.runs[best](c)
			if c.Line != nil {
				for l := range strings.Lines(out) {
					c.Line(strings.TrimSpace(l))
				}
			}
			return out, err
		},
	})
}

// says makes programs succeed with an output.
func says(out string) func(Command) (string, error) {
	return func(Command) (string, error) { return out, nil }
}

// fails makes programs fail with an output, and in the end, if given, succeed.
func fails(times int, out string, then string) func(Command) (string, error) {
	return func(Command) (string, error) {
		if times--; times >= 0 {
			return out, errors.New("exit status 100")
		}
		return then, nil
	}
}

func jdkFiles(home, version, vendor string) map[string]string {
	return map[string]string{
		home + "/bin/java*":   "",
		home + "/lib/modules": version,
		home + "/release":     fmt.Sprintf("IMPLEMENTOR=%q\nJAVA_VERSION=%q\n", vendor, version),
	}
}

func merge(maps ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range maps {
		maps0.Copy(out, m)
	}
	return out
}

func TestFindJDKs(t *testing.T) {
	w := newWorld(t, merge(
		jdkFiles("/usr/lib/jvm/java-17", "17.0.15", "Debian"),
		jdkFiles("/usr/lib/jvm/temurin-8", "1.8.0_402", "Temurin"),
		jdkFiles("/home/u/.sdkman/candidates/java/25.0.1-tem", "25.0.1", "Eclipse Adoptium"),
		map[string]string{
			"/usr/lib/jvm/default-java":               "-> java-17",
			"/usr/lib/jvm/openjdk-17/lib/src.zip":     "",
			"/usr/lib/jvm/.java-17.jinfo":             "",
			"/usr/lib/jvm/old/bin/java*":              "",
			"/usr/lib/jvm/broken/bin/java*":           "",
			"/usr/bin/java":                           "-> ../../etc/alternatives/java",
			"/etc/alternatives/java":                  "-> ../../usr/lib/jvm/java-17/bin/java",
			"/home/u/.sdkman/candidates/java/current": "-> 25.0.1-tem",
			"/opt/mine/bin/java*":                     "",
			"/opt/mine/release":                       "JAVA_VERSION=\"21-ea\"\r\n",
		}))
	w.env["JAVA_HOME"] = "/opt/mine"
	w.runs["/usr/lib/jvm/old/bin/java -version"] = says("Picked up JAVA_TOOL_OPTIONS: x\nopenjdk version \"11.0.2\" 2019-01-15\nOpenJDK Runtime\n")
	jdks := w.host().FindJDKs(t.Context())
	var got []string
	keys := map[string]bool{}
	for _, j := range jdks {
		got = append(got, fmt.Sprintf("%d %s %s %q %s", j.Major, j.Version, j.Java, j.Vendor, j.Source))
		if len(j.Key) != 12 || keys[j.Key] {
			t.Errorf("key %q", j.Key)
		}
		keys[j.Key] = true
	}
	want := []string{
		`21 21-ea /opt/mine/bin/java "" JAVA_HOME`,
		`17 17.0.15 /usr/lib/jvm/java-17/bin/java "Debian" PATH`,
		`11 11.0.2 /usr/lib/jvm/old/bin/java "" /usr/lib/jvm`,
		`8 1.8.0_402 /usr/lib/jvm/temurin-8/bin/java "Temurin" /usr/lib/jvm`,
		`25 25.0.1 /home/u/.sdkman/candidates/java/25.0.1-tem/bin/java "Eclipse Adoptium" /home/u/.sdkman/candidates/java`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
	if again := w.host().FindJDKs(t.Context()); again[1].Key != jdks[1].Key {
		t.Error("the key differs without a change")
	}
	w.file("/usr/lib/jvm/java-17/lib/modules", "another build")
	if again := w.host().FindJDKs(t.Context()); again[1].Key == jdks[1].Key {
		t.Error("the key is the same after a change")
	}
}

func TestChoose(t *testing.T) {
	jdk := func(version, source string) JDK {
		return JDK{Home: "/jvm/" + version, Version: version, Major: majorOf(version), Source: source}
	}
	all := []JDK{jdk("19.0.2", "JAVA_HOME"), jdk("17.0.9", "PATH"), jdk("17.0.15", "x"), jdk("11.0.2", "x"), jdk("22.0.1", "x"), jdk("21.0.1", "x"), jdk("1.8.0_402", "x")}
	for _, tt := range []struct {
		jdks             []JDK
		lowest, highest  int
		want, wantFailed string
	}{
		{all, 17, 21, "19.0.2", ""},
		{all, 0, 0, "19.0.2", ""},
		{all, 20, 0, "21.0.1", ""},
		{all, 17, 18, "17.0.15", ""},
		{all, 22, 22, "22.0.1", ""},
		{all, 0, 8, "1.8.0_402", ""},
		{all[3:4], 17, 21, "", "Java 17 to 21 is needed; found 11.0.2 in /jvm/11.0.2; install it with: apt-get install openjdk-17-jre-headless"},
		{all[3:5], 25, 0, "", "Java 25 or newer is needed; found 11.0.2 in /jvm/11.0.2, 22.0.1 in /jvm/22.0.1; install it with: apt-get install openjdk-25-jre-headless"},
		{nil, 19, 19, "", "Java 19 is needed; none was found in JAVA_HOME, PATH, /usr/lib/jvm or SDKMAN; install it with: apt-get install openjdk-19-jre-headless"},
		{nil, 0, 11, "", "Java up to 11 is needed; none was found in JAVA_HOME, PATH, /usr/lib/jvm or SDKMAN; install it with: apt-get install openjdk-11-jre-headless"},
	} {
		got, err := Choose(tt.jdks, tt.lowest, tt.highest)
		if got.Version != tt.want || (err == nil) != (tt.wantFailed == "") || err != nil && err.Error() != tt.wantFailed {
			t.Errorf("%d-%d: %s, %v", tt.lowest, tt.highest, got.Version, err)
		}
	}
}

// The real machine has whatever it has; nothing may fail or hang on it.
func TestThisMachine(t *testing.T) {
	f, err := ReadFacts(t.Context())
	if err != nil {
		t.Skip(err)
	}
	if f.MemoryTotal <= 0 || f.MemoryAvailable <= 0 || f.MemoryAvailable > f.MemoryTotal || f.Cores < 1 || f.BootID == "" {
		t.Errorf("%+v", f)
	}
	d, err := ReadDisk(filepath.Join(t.TempDir(), "not", "there"))
	if err != nil || d.Free <= 0 || d.Total < d.Free {
		t.Error(d, err)
	}
	for _, r := range Check(t.Context(), []Need{{Kind: NeedJava, Min: 17}, {Kind: NeedMaven}, {Kind: NeedCC}, {Kind: NeedMemory, Bytes: 1}, {Kind: NeedDisk, Path: t.TempDir(), Bytes: 1}}) {
		t.Log(r)
		if r.OK == (r.Problem != "") {
			t.Errorf("%+v", r)
		}
	}
}

func TestRunReportsLines(t *testing.T) {
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip(err)
	}
	var lines []string
	out, err := run(t.Context(), Command{Args: []string{"/bin/sh", "-c", "echo a; echo $X >&2; cat"}, Env: []string{"X=b"}, Stdin: "c", Line: func(l string) { lines = append(lines, l) }})
	if err != nil || out != "a\nb\nc" || !slices.Equal(lines, []string{"a", "b", "c"}) {
		t.Errorf("%q %q %v", out, lines, err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("too slow"))
	defer cancel()
	if _, err := run(ctx, Command{Args: []string{"/bin/sh", "-c", "exec sleep 60"}}); err == nil || err.Error() != "too slow" {
		t.Error(err)
	}
}
