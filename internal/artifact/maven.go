package artifact

import (
	"bufio"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// mavenGet fetches one artifact and nothing else. Later versions of the
	// plug-in read its POM too, and fail where a parent of the POM is missing.
	mavenGet = "2.10"
	// mavenEval tells where the local repository is, whatever moved it.
	mavenEval = "3.5.1"
	// mavenThreads is how many artifacts are fetched at once. Measured with 186
	// artifacts: 16 s with one, 7.5 s with eight.
	mavenThreads = 8
)

// guessRepositories lists where the user's local repository probably is,
// without asking Maven. A wrong guess costs nothing: digests decide.
func guessRepositories() []string {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil
	}
	repos := []string{filepath.Join(home, ".m2", "repository")}
	data, err := os.ReadFile(filepath.Join(home, ".m2", "settings.xml"))
	if err != nil {
		return repos
	}
	var settings struct {
		LocalRepository string `xml:"localRepository"`
	}
	if xml.Unmarshal(data, &settings) == nil && settings.LocalRepository != "" {
		dir := strings.ReplaceAll(strings.TrimSpace(settings.LocalRepository), "${user.home}", home)
		if filepath.IsAbs(dir) {
			repos = append([]string{dir}, repos...)
		}
	}
	return repos
}

// OnlyByMaven lists the entries of locks that are neither in the cache nor in
// a local Maven repository, and come from Maven.
func (c *Cache) OnlyByMaven(locks []*Lock) []Entry {
	repos := guessRepositories()
	var out []Entry
	for _, w := range c.missingOf(locks) {
		here := slices.ContainsFunc(repos, func(repo string) bool {
			info, err := os.Stat(filepath.Join(repo, filepath.FromSlash(w.Source.Maven.repoPath())))
			return err == nil && info.Size() == w.Size
		})
		if w.Source.Kind == KindMaven && !here {
			out = append(out, w.Entry)
		}
	}
	return out
}

// mavenRun is one batch run of the user's Maven.
type mavenRun struct {
	command   string
	log       *slog.Logger
	onFetched func(wanted)
}

// fetch lets Maven bring all into its local repository and returns where that
// is ("" if Maven did not get as far). A second run follows for what a flaky
// connection left.
func (m *mavenRun) fetch(ctx context.Context, c *Cache, all []wanted) (repo string, err error) {
	if _, err := exec.LookPath(m.command); err != nil {
		return "", fmt.Errorf("cannot resolve set %s: there is no Maven (%s) on the PATH to fetch %s%s: install Maven 3.6.3 or newer, or import a cache that was exported elsewhere",
			all[0].lock.Name, m.command, all[0].Source.Maven, andMore(len(all)-1))
	}
	if err := os.MkdirAll(c.path("tmp"), 0o755); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(c.path("tmp"), "maven-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	rest := all
	for range 2 {
		if err := writeProject(dir, rest); err != nil {
			return repo, err
		}
		out, runErr := m.run(ctx, dir, rest)
		if data, err := os.ReadFile(filepath.Join(dir, "repository.txt")); err == nil {
			repo = strings.TrimSpace(string(data))
		}
		if runErr == nil {
			return repo, nil
		}
		rest = absent(rest, repo)
		err = explain(runErr, out, rest)
		if ctx.Err() != nil || repo == "" || len(rest) == 0 {
			break
		}
	}
	return repo, err
}

// absent lists what the repository lacks.
func absent(all []wanted, repo string) []wanted {
	var rest []wanted
	for _, w := range all {
		if _, err := os.Stat(filepath.Join(repo, filepath.FromSlash(w.Source.Maven.repoPath()))); repo == "" || err != nil {
			rest = append(rest, w)
		}
	}
	return rest
}

// run executes the project in dir. The output kept is what explain needs.
func (m *mavenRun) run(ctx context.Context, dir string, all []wanted) (*mavenOutput, error) {
	// -U: a failure of yesterday is tried again. -fae: one missing artifact
	// does not stop the others.
	cmd := exec.CommandContext(ctx, m.command, "-B", "-U", "-fae", "-Dstyle.color=never",
		"-T", strconv.Itoa(mavenThreads), "-f", filepath.Join(dir, "pom.xml"), "validate")
	cmd.Dir = dir
	// Maven is a script that starts a JVM: end both.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	read, write := io.Pipe()
	cmd.Stdout, cmd.Stderr = write, write
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return &mavenOutput{}, err
	}
	done := make(chan *mavenOutput, 1)
	go func() { done <- readMaven(read, all, m.onFetched) }()
	err := cmd.Wait()
	write.Close()
	out := <-done
	m.log.Info("maven ran", "artifacts", len(all), "duration", time.Since(start).Round(time.Millisecond), "ok", err == nil)
	return out, err
}

// mavenOutput is what matters of what Maven wrote.
type mavenOutput struct {
	errors []string // [ERROR] and [FATAL] lines, without the mark
	other  []string // the last lines that carry no mark
}

func readMaven(r io.Reader, all []wanted, onFetched func(wanted)) *mavenOutput {
	byPath := map[string]wanted{}
	for _, w := range all {
		byPath[w.Source.Maven.repoPath()] = w
	}
	out := &mavenOutput{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		switch text, isError := cutMark(line); {
		case isError && len(out.errors) < 1000:
			out.errors = append(out.errors, text)
		case strings.HasPrefix(line, "[INFO] Downloaded from "):
			if w, ok := downloaded(line, byPath); ok {
				onFetched(w)
			}
		case line != "" && !strings.HasPrefix(line, "[") && len(out.other) < 50:
			out.other = append(out.other, line)
		}
	}
	_, _ = io.Copy(io.Discard, r) // a line beyond the limit must not block Maven
	return out
}

func cutMark(line string) (string, bool) {
	for _, mark := range []string{"[ERROR] ", "[FATAL] "} {
		if text, ok := strings.CutPrefix(line, mark); ok {
			return strings.TrimSpace(text), true
		}
	}
	return "", false
}

// downloaded finds the artifact in "Downloaded from ID: URL (size at speed)":
// the URL ends in its path in a repository, which has at least four parts.
func downloaded(line string, byPath map[string]wanted) (wanted, bool) {
	_, rest, _ := strings.Cut(strings.TrimPrefix(line, "[INFO] Downloaded from "), ": ")
	url, _, _ := strings.Cut(rest, " ")
	for {
		_, after, more := strings.Cut(url, "/")
		if !more {
			return wanted{}, false
		}
		if w, ok := byPath[after]; ok {
			return w, true
		}
		url = after
	}
}

// writeProject makes a project of several modules, so that Maven fetches in
// parallel; the root asks for the local repository's place.
func writeProject(dir string, all []wanted) error {
	n := min(mavenThreads, len(all))
	modules := make([]strings.Builder, n)
	for i, w := range all {
		getExecution(&modules[i%n], i, w.Source.Maven)
	}
	var names strings.Builder
	for i := range modules {
		name := "m" + strconv.Itoa(i)
		names.WriteString("<module>" + name + "</module>")
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
		body := pluginXML("maven-dependency-plugin", mavenGet, modules[i].String())
		if err := os.WriteFile(filepath.Join(dir, name, "pom.xml"), projectXML(name, body), 0o644); err != nil {
			return err
		}
	}
	var eval strings.Builder
	eval.WriteString("<execution><id>repository</id><phase>validate</phase><goals><goal>evaluate</goal></goals><configuration>")
	element(&eval, "expression", "settings.localRepository")
	element(&eval, "output", filepath.Join(dir, "repository.txt"))
	eval.WriteString("</configuration></execution>")
	root := "<modules>" + names.String() + "</modules>" +
		strings.Replace(pluginXML("maven-help-plugin", mavenEval, eval.String()), "<executions>", "<inherited>false</inherited><executions>", 1)
	return os.WriteFile(filepath.Join(dir, "pom.xml"), projectXML("all", root), 0o644)
}

func getExecution(b *strings.Builder, i int, c Coordinates) {
	b.WriteString("<execution><id>a" + strconv.Itoa(i) + "</id><phase>validate</phase><goals><goal>get</goal></goals><configuration>")
	element(b, "transitive", "false")
	element(b, "groupId", c.Group)
	element(b, "artifactId", c.Artifact)
	element(b, "version", c.Version)
	element(b, "classifier", c.Classifier)
	element(b, "packaging", c.Ext)
	b.WriteString("</configuration></execution>\n")
}

func projectXML(name, body string) []byte {
	return []byte(`<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>` +
		"<groupId>howdah</groupId><artifactId>" + name + "</artifactId><version>1</version><packaging>pom</packaging>" +
		body + "</project>\n")
}

func pluginXML(artifact, version, executions string) string {
	return "<build><plugins><plugin><groupId>org.apache.maven.plugins</groupId><artifactId>" + artifact +
		"</artifactId><version>" + version + "</version><executions>" + executions + "</executions></plugin></plugins></build>"
}

func element(b *strings.Builder, name, value string) {
	if value == "" {
		return
	}
	b.WriteString("<" + name + ">")
	_ = xml.EscapeText(b, []byte(value))
	b.WriteString("</" + name + ">")
}

func andMore(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(" and %d more", n)
}
