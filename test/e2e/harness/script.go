package harness

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Script runs a script in txtar form: commands, one a line, then the files it
// works with. Every command runs in a directory that holds those files. It is
// the part of testscript's language these scenarios need:
//
//	fails CODE ARGUMENT...   run howdah, which must end with the code
//	cmp stdout|stderr FILE   what it wrote is the file
//	cmpenv stdout|stderr FILE  the same, with $NAME in the file replaced
//	stdout|stderr REGEXP     what it wrote matches; with ! before, it does not
//	stdin FILE               input of the next command
//	env NAME=VALUE           sets a variable, $NAME in it replaced
//
// With E2E_UPDATE=1 files that cmp finds different are rewritten.
func Script(t *testing.T, h *Home, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	commands, files := parseArchive(string(text))
	s := &script{t: t, h: h, file: file, text: string(text), dir: t.TempDir(), files: files}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	s.env = []string{"WORK=" + s.dir, "HOST=" + host, "HOWDAH_HOME=" + h.Dir}
	for name, content := range files {
		path := filepath.Join(s.dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i, line := range strings.Split(commands, "\n") {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			s.at = filepath.Base(file) + ":" + strconv.Itoa(i+1) + ": " + line
			s.command(words(line))
		}
	}
	if s.text != string(text) {
		if err := os.WriteFile(file, []byte(s.text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

type script struct {
	t              *testing.T
	h              *Home
	file, text     string // the script, rewritten by an update
	at             string // the present command
	dir            string
	env            []string
	files          map[string]string
	stdin          string
	stdout, stderr string
}

// words splits a line at spaces; single quotes hold words together.
func words(line string) []string {
	var out []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			out = append(out, part)
			continue
		}
		out = append(out, strings.Fields(part)...)
	}
	return out
}

var header = regexp.MustCompile(`(?m)^-- (\S+) --\n`)

// parseArchive splits a txtar archive into its comment and its files.
func parseArchive(text string) (comment string, files map[string]string) {
	files = map[string]string{}
	at := header.FindAllStringSubmatchIndex(text, -1)
	if len(at) == 0 {
		return text, files
	}
	for i, m := range at {
		end := len(text)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		files[text[m[2]:m[3]]] = text[m[1]:end]
	}
	return text[:at[0][0]], files
}

func (s *script) expand(v string) string {
	return os.Expand(v, func(name string) string {
		for _, e := range slices.Backward(s.env) {
			if v, ok := strings.CutPrefix(e, name+"="); ok {
				return v
			}
		}
		return os.Getenv(name)
	})
}

func (s *script) command(w []string) {
	s.t.Helper()
	not := w[0] == "!"
	if not {
		w = w[1:]
	}
	switch {
	case w[0] == "fails" && len(w) > 1:
		s.run(w[1], w[2:])
	case w[0] == "stdin" && len(w) == 2:
		s.stdin = s.files[w[1]]
	case w[0] == "env" && len(w) == 2:
		s.env = append(s.env, s.expand(w[1]))
	case (w[0] == "cmp" || w[0] == "cmpenv") && len(w) == 3:
		s.compare(w[1], w[2], w[0] == "cmpenv")
	case (w[0] == "stdout" || w[0] == "stderr") && len(w) == 2:
		re, err := regexp.Compile("(?m)" + w[1])
		if err != nil {
			s.t.Fatalf("%s: %v", s.at, err)
		}
		if re.MatchString(s.stream(w[0])) == not {
			s.t.Errorf("%s: it is\n%s", s.at, s.stream(w[0]))
		}
	default:
		s.t.Fatalf("%s: no such command", s.at)
	}
}

func (s *script) stream(name string) string {
	if name == "stdout" {
		return s.stdout
	}
	return s.stderr
}

func (s *script) run(code string, args []string) {
	s.t.Helper()
	for i := range args {
		args[i] = s.expand(args[i])
	}
	cmd := s.h.Command(args...)
	cmd.Dir, cmd.Env = s.dir, append(cmd.Env, s.env...)
	cmd.Stdin, s.stdin = strings.NewReader(s.stdin), ""
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if _, exited := err.(*exec.ExitError); !exited { //nolint:errorlint // Run returns it bare
			s.t.Fatalf("%s: %v", s.at, err)
		}
	}
	s.stdout, s.stderr = out.String(), errs.String()
	if got := strconv.Itoa(cmd.ProcessState.ExitCode()); got != code {
		s.t.Errorf("%s: exit code %s\nstdout:\n%s\nstderr:\n%s", s.at, got, s.stdout, s.stderr)
	}
}

func (s *script) compare(stream, file string, env bool) {
	s.t.Helper()
	want, ok := s.files[file]
	if !ok {
		s.t.Fatalf("%s: the script has no file %s", s.at, file)
	}
	got := s.stream(stream)
	if env {
		want = s.expand(want)
	}
	if got == want {
		return
	}
	if os.Getenv("E2E_UPDATE") != "" && !env {
		s.text = strings.Replace(s.text, "-- "+file+" --\n"+s.files[file], "-- "+file+" --\n"+got, 1)
		s.files[file] = got
		return
	}
	s.t.Errorf("%s: %s is\n%s\nwant\n%s", s.at, stream, got, want)
}
