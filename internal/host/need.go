package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// NeedKind is a kind of prerequisite.
type NeedKind string

// The kinds of prerequisites there is a check for.
const (
	NeedJava   NeedKind = "java"
	NeedMaven  NeedKind = "maven"
	NeedCC     NeedKind = "cc" // a C compiler with the headers of the C library
	NeedDisk   NeedKind = "disk"
	NeedMemory NeedKind = "memory"
)

// Need is one prerequisite.
type Need struct {
	Kind NeedKind `json:"kind" enum:"java,maven,cc,disk,memory" doc:"What is needed"`
	// Min and Max are feature releases of Java; 0 for no limit.
	Min int `json:"min,omitempty" doc:"Lowest Java release"`
	Max int `json:"max,omitempty" doc:"Highest Java release"`
	// Version is the lowest version of Maven; "" for any.
	Version string `json:"version,omitempty" doc:"Lowest Maven version"`
	// Bytes of disk or memory that must be free.
	Bytes int64 `json:"bytes,omitempty" doc:"Bytes of disk or memory that must be free"`
	// Path is where the disk space is needed.
	Path string `json:"path,omitempty" doc:"Folder that needs the disk space"`
}

// Result is what a check found.
type Result struct {
	Need   Need   `json:"need" doc:"What was asked for"`
	OK     bool   `json:"ok" doc:"True when it is there"`
	Wanted string `json:"wanted" doc:"What is needed, in words: Java 17 to 21"`
	Found  string `json:"found,omitempty" doc:"What is there: a version or an amount"`
	Path   string `json:"path,omitempty" doc:"Program that was found"`
	// Problem says in one line what is missing; "" when nothing is.
	Problem string `json:"problem,omitempty" doc:"What is missing, in one line"`
	// Packages are the Debian packages that bring it, all of them; Alternatives
	// are single packages of which one is enough, the likeliest first.
	Packages     []string `json:"packages,omitempty" doc:"Debian packages that bring it"`
	Alternatives []string `json:"alternatives,omitempty" doc:"Debian packages of which one is enough"`
	JDK          *JDK     `json:"jdk,omitempty" doc:"The Java that was chosen"`
}

// String returns the result as one line: java 17.0.15, or what is missing.
func (r Result) String() string {
	if r.OK {
		return strings.TrimSpace(string(r.Need.Kind) + " " + r.Found)
	}
	return string(r.Need.Kind) + ": " + r.Problem
}

// Check looks for prerequisites on this machine; see Host.Check.
func Check(ctx context.Context, needs []Need) []Result { return New(Config{}).Check(ctx, needs) }

// Check looks for each prerequisite and returns one result for each, in order.
func (h *Host) Check(ctx context.Context, needs []Need) []Result {
	checks := map[NeedKind]func(context.Context, Need) Result{
		NeedJava: h.checkJava, NeedMaven: h.checkMaven, NeedCC: h.checkCC, NeedDisk: h.checkDisk, NeedMemory: h.checkMemory,
	}
	out := make([]Result, len(needs))
	for i, n := range needs {
		out[i] = Result{Wanted: string(n.Kind), Problem: "this version knows no such prerequisite"}
		if check, ok := checks[n.Kind]; ok {
			out[i] = check(ctx, n)
		}
		out[i].Need = n
	}
	return out
}

func (h *Host) checkJava(ctx context.Context, n Need) Result {
	r := Result{Wanted: javaRange(n.Min, n.Max)}
	jdks := h.FindJDKs(ctx)
	jdk, err := Choose(jdks, n.Min, n.Max)
	if err != nil {
		r.Problem = r.Wanted + " is needed; " + foundJDKs(jdks)
		r.Alternatives = javaPackages(h.release(), n.Min, n.Max)
		return r
	}
	r.OK, r.Found, r.Path, r.JDK = true, jdk.Version, jdk.Java, &jdk
	return r
}

func (h *Host) checkMaven(ctx context.Context, n Need) Result {
	r := Result{Wanted: strings.TrimSpace("Maven " + n.Version), Packages: []string{"maven"}}
	if n.Version != "" {
		r.Wanted += " or newer"
	}
	mvn, ok := h.lookPath("mvn")
	if !ok {
		r.Problem = r.Wanted + " is needed; there is no mvn on PATH"
		return r
	}
	r.Path = mvn
	version, err := h.mavenVersion(ctx, mvn)
	r.Found = version
	switch {
	case err != nil:
		r.Problem = fmt.Sprintf("%s does not work: %v", mvn, err)
	case slices.Compare(numbers(version), numbers(n.Version)) < 0:
		r.Problem = fmt.Sprintf("%s is needed; %s is %s", r.Wanted, mvn, version)
	default:
		r.OK, r.Packages = true, nil
	}
	return r
}

var (
	mavenJar    = regexp.MustCompile(`^maven-core-([0-9][0-9A-Za-z.\-]*)\.jar$`)
	mavenOutput = regexp.MustCompile(`(?m)^(?:\x1b\[[0-9;]*m)*Apache Maven ([0-9][0-9A-Za-z.\-]*)`)
)

// mavenVersion reads the version off the name of Maven's core library, since
// mvn -v takes a second; where that has none, mvn is run.
func (h *Host) mavenVersion(ctx context.Context, mvn string) (string, error) {
	if p, err := h.resolve(mvn); err == nil {
		for _, lib := range h.entries(filepath.Join(filepath.Dir(filepath.Dir(p)), "lib")) {
			for _, name := range h.namesOf(lib) {
				if m := mavenJar.FindStringSubmatch(name); m != nil && m[1] != "3.x" {
					return m[1], nil
				}
			}
		}
		if version := h.debianMaven(p); version != "" {
			return version, nil
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, fmt.Errorf("mvn -v gave no answer in 20 s"))
	defer cancel()
	out, err := h.cfg.Run(ctx, Command{Args: []string{mvn, "-v"}})
	if m := mavenOutput.FindStringSubmatch(out); m != nil {
		return m[1], nil
	}
	if err == nil {
		err = fmt.Errorf("mvn -v prints no version")
	}
	return "", failure(out, err)
}

// namesOf returns the name of a file and, for a symbolic link, of its target.
func (h *Host) namesOf(path string) []string {
	names := []string{filepath.Base(path)}
	if p, err := h.resolve(path); err == nil {
		names = append(names, filepath.Base(p))
	}
	return names
}

// debianMaven reads the version of Debian's Maven, whose libraries have no
// version in their names, from the repository beside it.
func (h *Host) debianMaven(mvn string) string {
	if mvn != "/usr/share/maven/bin/mvn" {
		return ""
	}
	for _, dir := range h.entries("/usr/share/maven-repo/org/apache/maven/maven-core") {
		if version := filepath.Base(dir); len(numbers(version)) > 1 && !strings.HasSuffix(version, "x") {
			return version
		}
	}
	return ""
}

func (h *Host) checkCC(ctx context.Context, _ Need) Result {
	r := Result{Wanted: "a C compiler", Packages: []string{"gcc", "libc6-dev"}}
	var problems []string
	for _, name := range []string{"cc", "gcc", "clang"} {
		path, ok := h.lookPath(name)
		if !ok {
			continue
		}
		if err := h.compiles(ctx, path); err != nil {
			problems = append(problems, fmt.Sprintf("%s cannot compile a program: %v", path, err))
			continue
		}
		r.OK, r.Path, r.Found, r.Packages = true, path, h.ccVersion(ctx, path), nil
		return r
	}
	r.Problem = "a C compiler is needed; there is no cc, gcc or clang on PATH"
	if len(problems) > 0 {
		r.Problem = problems[0]
	}
	return r
}

const smallestProgram = "#include <stdio.h>\n#include <stdlib.h>\nint main(void) { return puts(\"\") < 0; }\n"

// compiles builds and links a small program; a compiler without the headers of
// the C library is found this way.
func (h *Host) compiles(ctx context.Context, cc string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, fmt.Errorf("it gave no answer in 30 s"))
	defer cancel()
	// Not to /dev/null: as root some linkers replace it by a file.
	dir, err := os.MkdirTemp("", "howdah-cc-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	out, err := h.cfg.Run(ctx, Command{Args: []string{cc, "-x", "c", "-o", filepath.Join(dir, "out"), "-"}, Stdin: smallestProgram})
	return failure(out, err)
}

var versionNumber = regexp.MustCompile(`[0-9]+\.[0-9]+(\.[0-9]+)?`)

func (h *Host) ccVersion(ctx context.Context, cc string) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, _ := h.cfg.Run(ctx, Command{Args: []string{cc, "--version"}})
	first, _, _ := strings.Cut(out, "\n")
	if _, rest, ok := strings.Cut(first, "clang version "); ok {
		return versionNumber.FindString(rest)
	}
	all := versionNumber.FindAllString(first, -1)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

func (h *Host) checkDisk(_ context.Context, n Need) Result {
	r := Result{Wanted: amount(n.Bytes) + " of free disk", Path: n.Path}
	d, err := h.Disk(n.Path)
	if err != nil {
		r.Problem = err.Error()
		return r
	}
	r.Found = amount(d.Free)
	if r.OK = d.Free >= n.Bytes; !r.OK {
		r.Problem = fmt.Sprintf("%s is needed in %s; %s is free", amount(n.Bytes), n.Path, r.Found)
	}
	return r
}

func (h *Host) checkMemory(ctx context.Context, n Need) Result {
	r := Result{Wanted: amount(n.Bytes) + " of free memory"}
	f, err := h.Facts(ctx)
	if f.MemoryTotal == 0 && err != nil {
		r.Problem = err.Error()
		return r
	}
	r.Found = amount(f.MemoryAvailable)
	if r.OK = f.MemoryAvailable >= n.Bytes; !r.OK {
		r.Problem = fmt.Sprintf("%s of memory is needed; %s of %s is free", amount(n.Bytes), r.Found, amount(f.MemoryTotal))
	}
	return r
}

// amount writes bytes in binary units.
func amount(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}

// failure returns err with the first line of output that says what is wrong.
func failure(out string, err error) error {
	if err == nil {
		return nil
	}
	first := ""
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if line != "" && first == "" {
			first = line
		}
		if strings.Contains(line, "error") || strings.HasPrefix(line, "E: ") {
			first = line
			break
		}
	}
	if first == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, first)
}
