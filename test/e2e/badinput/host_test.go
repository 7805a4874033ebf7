package badinput

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"howdah.dev/howdah/test/e2e/harness"
)

// programs is a PATH with only the named programs, as links.
func programs(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Skipf("this machine has no %s, which the test takes away: %v", name, err)
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// without runs howdah where a shell command in a mount namespace of its own has
// changed the file system first. No right is needed but to make user namespaces.
func without(t *testing.T, h *harness.Home, change string, args ...string) harness.Result {
	t.Helper()
	if out, err := exec.Command("unshare", "-rm", "true").CombinedOutput(); err != nil {
		t.Skipf("this machine lets us make no mount namespace: %v: %s", err, out)
	}
	cmd := h.Command(args...)
	in := exec.Command("unshare", append([]string{"-rm", "sh", "-c", change + ` && exec "$@"`, "sh", cmd.Path}, cmd.Args[1:]...)...) //nolint:gosec // a test's own script
	in.Dir, in.Env = cmd.Dir, cmd.Env
	var out, errs strings.Builder
	in.Stdout, in.Stderr = &out, &errs
	_ = in.Run()
	return harness.Result{Stdout: out.String(), Stderr: errs.String(), Code: in.ProcessState.ExitCode()}
}

// stream needs all there is a check for: a Java of its own range, files that
// nobody has fetched, and a compiler for what listens on every address.
const stream = "name: stream\nstack: storm\n"

// noJavas hides the folders that howdah looks for Java in.
const noJavas = `for d in /usr/lib/jvm /usr/java /opt/java; do [ ! -d $d ] || mount -t tmpfs none $d || exit; done`

func TestHostLacksSomething(t *testing.T) {
	const install = "installing packages is switched off (HOWDAH_INSTALL=0); run: "
	for _, c := range []struct {
		name string
		path []string // programs on the PATH beside a shell
		java string   // version of the one in JAVA_HOME
		do   func(t *testing.T, h *harness.Home) harness.Result
		want []string
	}{
		{
			name: "no Java", path: []string{"mvn", "cc"},
			do: func(t *testing.T, h *harness.Home) harness.Result {
				return without(t, h, noJavas, "up", h.Write("stream.yaml", stream))
			},
			want: []string{
				"java: Java 17 to 24 is needed; none was found in JAVA_HOME, PATH, /usr/lib/jvm or SDKMAN\n",
				"howdah: cannot install Java 17 to 24: " + install,
			},
		},
		{
			name: "a Java that is too old", path: []string{"mvn", "cc"}, java: "11.0.2",
			do: func(t *testing.T, h *harness.Home) harness.Result {
				return without(t, h, noJavas, "up", h.Write("stream.yaml", stream))
			},
			want: []string{
				"java: Java 17 to 24 is needed; found 11.0.2 in ",
				"howdah: cannot install Java 17 to 24: " + install,
			},
		},
		{
			name: "no Maven", path: []string{"java", "cc"},
			do:   func(_ *testing.T, h *harness.Home) harness.Result { return h.Run("up", h.Write("stream.yaml", stream)) },
			want: []string{"maven: Maven is needed; there is no mvn on PATH\n", "howdah: cannot install Maven: " + install},
		},
		{
			name: "no compiler", path: []string{"java", "mvn"},
			do:   func(_ *testing.T, h *harness.Home) harness.Result { return h.Run("up", h.Write("stream.yaml", stream)) },
			want: []string{"cc: a C compiler is needed; there is no cc, gcc or clang on PATH\n", "howdah: cannot install a C compiler: " + install},
		},
		{
			name: "a Java that is too old for ZooKeeper", path: []string{"mvn"}, java: "1.8.0_402",
			do: func(t *testing.T, h *harness.Home) harness.Result {
				return without(t, h, noJavas, "up", h.Write("zk.yaml", zk))
			},
			want: []string{"java: Java 11 or newer is needed; found 1.8.0_402 in ", "howdah: cannot install Java 11 or newer: " + install},
		},
		{
			name: "too little disk", path: []string{"java", "mvn", "cc"},
			do: func(t *testing.T, h *harness.Home) harness.Result {
				return without(t, h, "mount -t tmpfs -o size=64m none "+h.Dir, "up", h.Write("stream.yaml", stream))
			},
			want: []string{"disk: 3.0 GiB is needed in $HOME; 64 MiB is free\n"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := harness.NewEmpty(t)
			h.Env = []string{"PATH=" + programs(t, append(c.path, "sh", "mount", "as", "ld", "dirname", "basename", "uname")...), "JAVA_HOME=", "HOME=" + t.TempDir()}
			if c.java != "" {
				h.Env = append(h.Env, "JAVA_HOME="+fakeJava(t, c.java))
			}
			r := c.do(t, h)
			if r.Code != 1 {
				t.Errorf("exit code %d, want 1", r.Code)
			}
			for _, w := range c.want {
				harness.Contains(t, "what howdah says", r.Stderr, strings.ReplaceAll(w, "$HOME", h.Dir))
			}
			oneSentence(t, r.Stderr)
			if left := h.Processes(); len(left) > 0 {
				t.Errorf("something was started: %v", left)
			}
			if _, err := os.Stat(filepath.Join(h.Dir, "settings.json")); err == nil {
				t.Error("the home was made")
			}
		})
	}
}

// oneSentence says that a text is no stack trace and no page of output.
func oneSentence(t *testing.T, text string) {
	t.Helper()
	if strings.Count(text, "\n") > 3 || strings.Contains(text, "goroutine ") || strings.Contains(text, "\tat ") || strings.Contains(text, "panic") {
		t.Errorf("this is more than a sentence or two:\n%s", text)
	}
}

// fakeJava is a folder that says of itself to be a Java.
func fakeJava(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "release"), "JAVA_VERSION=\""+version+"\"\n", 0o644)
	write(t, filepath.Join(dir, "bin", "java"), "#!/bin/sh\nexit 1\n", 0o755)
	return dir
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
