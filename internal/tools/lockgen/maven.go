package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The plug-ins are pinned so that everyone who regenerates a lock gets the same one.
const (
	plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:"
	// Later versions of get read the artifact's POM and fail where a parent of it is missing.
	getPlugin  = "org.apache.maven.plugins:maven-dependency-plugin:2.10:get"
	evalPlugin = "org.apache.maven.plugins:maven-help-plugin:3.5.1:evaluate"
)

// resolved is an artifact and the file Maven has of it.
type resolved struct {
	Coord coord
	File  string
}

// maven runs one generated project per section in a directory of its own.
type maven struct {
	dir  string // temporary
	repo string // the user's local repository
}

func newMaven(ctx context.Context, dir string) (*maven, error) {
	m := &maven{dir: dir}
	if err := m.pom(".", project("all", "")); err != nil {
		return nil, err
	}
	out := filepath.Join(dir, "repo.txt")
	if err := m.run(ctx, ".", evalPlugin, "-Dexpression=settings.localRepository", "-Doutput="+out); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(out)
	m.repo = strings.TrimSpace(string(data))
	return m, err
}

func (m *maven) pom(module string, data []byte) error {
	if err := os.MkdirAll(filepath.Join(m.dir, module), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(m.dir, module, "pom.xml"), data, 0o644)
}

func (m *maven) run(ctx context.Context, module string, args ...string) error {
	cmd := exec.CommandContext(ctx, "mvn", append([]string{"-B", "-q", "-Dstyle.color=never"}, args...)...)
	cmd.Dir = filepath.Join(m.dir, module)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot run mvn %s: %w\n%s", args[0], err, bytes.TrimSpace(out))
	}
	return nil
}

// section gives the files of one section: the closure in classpath order,
// then what stands alone.
func (m *maven) section(ctx context.Context, i int, s section) ([]resolved, error) {
	var closure, alone []root
	for _, r := range s.Roots {
		if r.Alone {
			alone = append(alone, r)
		} else {
			closure = append(closure, r)
		}
	}
	var out []resolved
	if len(closure) > 0 {
		module := fmt.Sprintf("s%d", i)
		if err := m.pom(module, closurePOM(module, s, closure)); err != nil {
			return nil, err
		}
		err := m.run(ctx, module, plugin+"build-classpath", "-Dmdep.outputFile=cp.txt",
			plugin+"list", "-DoutputAbsoluteArtifactFilename=true", "-DoutputFile=list.txt")
		if err != nil {
			return nil, err
		}
		if out, err = readModule(filepath.Join(m.dir, module)); err != nil {
			return nil, err
		}
	}
	for _, r := range alone {
		res, err := m.get(ctx, r.Coord)
		if err != nil {
			return nil, err
		}
		out = append(out, res)
	}
	return out, nil
}

// get fetches one artifact without reading its POM, and the POM too if there
// is one, for the licence.
func (m *maven) get(ctx context.Context, c coord) (resolved, error) {
	res := resolved{c, m.path(c, c.fileName())}
	if _, err := os.Stat(res.File); err != nil {
		arg := strings.Join([]string{c.Group, c.Artifact, c.Version, c.Ext}, ":")
		if c.Classifier != "" {
			arg += ":" + c.Classifier
		}
		if err := m.run(ctx, ".", getPlugin, "-Dtransitive=false", "-Dartifact="+arg); err != nil {
			return res, err
		}
	}
	pomName := c.Artifact + "-" + c.Version + ".pom"
	if _, err := os.Stat(m.path(c, pomName)); err != nil {
		_ = m.run(ctx, ".", getPlugin, "-Dtransitive=false", "-Dartifact="+strings.Join([]string{c.Group, c.Artifact, c.Version, "pom"}, ":"))
	}
	return res, nil
}

// path is where the local repository keeps a file of the artifact.
func (m *maven) path(c coord, name string) string {
	return filepath.Join(m.repo, filepath.FromSlash(strings.ReplaceAll(c.Group, ".", "/")), c.Artifact, c.Version, name)
}

func project(name, body string) []byte {
	return []byte(`<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>` +
		`<groupId>lockgen</groupId><artifactId>` + name + `</artifactId><version>1</version><packaging>pom</packaging>` +
		body + "</project>\n")
}

func closurePOM(name string, s section, closure []root) []byte {
	var b strings.Builder
	b.WriteString("<dependencyManagement><dependencies>")
	for _, p := range s.Pins {
		dependency(&b, p, nil)
	}
	b.WriteString("</dependencies></dependencyManagement><dependencies>")
	for _, r := range closure {
		dependency(&b, r.Coord, s.Exclude)
	}
	b.WriteString("</dependencies>")
	return project(name, b.String())
}

func dependency(b *strings.Builder, c coord, exclude []coord) {
	b.WriteString("<dependency>")
	element(b, "groupId", c.Group)
	element(b, "artifactId", c.Artifact)
	element(b, "version", c.Version)
	element(b, "classifier", c.Classifier)
	element(b, "type", c.Ext)
	b.WriteString("<exclusions>")
	for _, e := range exclude {
		b.WriteString("<exclusion>")
		element(b, "groupId", e.Group)
		element(b, "artifactId", e.Artifact)
		b.WriteString("</exclusion>")
	}
	b.WriteString("</exclusions></dependency>\n")
}

func element(b *strings.Builder, name, value string) {
	if value == "" {
		return
	}
	b.WriteString("<" + name + ">")
	_ = xml.EscapeText(b, []byte(value))
	b.WriteString("</" + name + ">")
}

// readModule joins the classpath (whose order counts) with the list (which
// has the coordinates).
func readModule(dir string) ([]resolved, error) {
	cp, err := os.ReadFile(filepath.Join(dir, "cp.txt"))
	if err != nil {
		return nil, err
	}
	list, err := os.ReadFile(filepath.Join(dir, "list.txt"))
	if err != nil {
		return nil, err
	}
	byFile := map[string]coord{}
	for line := range strings.Lines(string(list)) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " -- ")
		f := strings.Split(line, ":")
		switch len(f) {
		case 6: // G:A:EXT:V:scope:file
			byFile[f[5]] = coord{Group: f[0], Artifact: f[1], Ext: f[2], Version: f[3]}
		case 7: // G:A:EXT:C:V:scope:file
			byFile[f[6]] = coord{Group: f[0], Artifact: f[1], Ext: f[2], Classifier: f[3], Version: f[4]}
		}
	}
	var out []resolved
	for _, file := range filepath.SplitList(strings.TrimSpace(string(cp))) {
		c, ok := byFile[file]
		if !ok {
			return nil, fmt.Errorf("no coordinates for %s in Maven's list", file)
		}
		// test-jar and maven-plugin are dependency types whose file is a jar.
		if strings.HasSuffix(file, ".jar") {
			c.Ext = "jar"
		}
		out = append(out, resolved{c, file})
	}
	return out, nil
}
