package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// JDK is a Java installation, with or without a compiler.
type JDK struct {
	Home    string `json:"home" doc:"Folder of the installation, symbolic links resolved"`
	Java    string `json:"java" doc:"Path of the java program"`
	Major   int    `json:"major" doc:"Feature release, such as 17"`
	Version string `json:"version" doc:"Whole version, such as 17.0.15"`
	Vendor  string `json:"vendor,omitempty" doc:"Who built it, when it says so"`
	Key     string `json:"key" doc:"Digest that changes with another build"`
	Source  string `json:"source" doc:"Where it was found: JAVA_HOME, PATH or a folder"`
}

// FindJDKs returns the Java installations of this machine; see Host.FindJDKs.
func FindJDKs(ctx context.Context) []JDK { return New(Config{}).FindJDKs(ctx) }

// FindJDKs returns the Java installations from JAVA_HOME, PATH, /usr/lib/jvm,
// /usr/java, /opt/java and SDKMAN, in this order, each once. It reads their
// release files and runs java -version only where there is none.
func (h *Host) FindJDKs(ctx context.Context) []JDK {
	var jdks []JDK
	seen := map[string]bool{}
	for _, c := range h.candidates() {
		home, err := h.resolve(c.home)
		if err != nil || seen[home] {
			continue
		}
		seen[home] = true
		if jdk, ok := h.inspect(ctx, home); ok {
			jdk.Source = c.source
			jdks = append(jdks, jdk)
		}
	}
	return jdks
}

type candidate struct{ home, source string }

func (h *Host) candidates() []candidate {
	var out []candidate
	if home := h.cfg.Getenv("JAVA_HOME"); filepath.IsAbs(home) {
		out = append(out, candidate{home, "JAVA_HOME"})
	}
	if java, ok := h.lookPath("java"); ok {
		if java, err := h.resolve(java); err == nil {
			home := filepath.Dir(filepath.Dir(java))
			if filepath.Base(home) == "jre" && h.executable(filepath.Join(filepath.Dir(home), "bin/java")) {
				home = filepath.Dir(home) // Java 8 keeps a second java in jre/bin
			}
			out = append(out, candidate{home, "PATH"})
		}
	}
	dirs := []string{"/usr/lib/jvm", "/usr/java", "/opt/java"}
	if home := h.cfg.Getenv("HOME"); filepath.IsAbs(home) {
		dirs = append(dirs, filepath.Join(home, ".sdkman/candidates/java"))
	}
	for _, dir := range dirs {
		for _, home := range h.entries(dir) {
			out = append(out, candidate{home, dir})
		}
	}
	return out
}

// inspect reads what a folder says of itself; false when it holds no Java.
func (h *Host) inspect(ctx context.Context, home string) (JDK, bool) {
	jdk := JDK{Home: home, Java: filepath.Join(home, "bin/java")}
	if !h.executable(jdk.Java) {
		return JDK{}, false
	}
	release, err := h.read(filepath.Join(home, "release"))
	if err == nil {
		values := keyValues(release)
		jdk.Version, jdk.Vendor = values["JAVA_VERSION"], values["IMPLEMENTOR"]
		jdk.Major = majorOf(jdk.Version)
	}
	if jdk.Major == 0 {
		release = h.ask(ctx, &jdk)
	}
	jdk.Key = h.buildKey(home, release)
	return jdk, jdk.Major > 0
}

var versionLine = regexp.MustCompile(`(?m)^(\w+) version "([^"]+)"`)

// ask runs java -version and returns its output.
func (h *Host) ask(ctx context.Context, jdk *JDK) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := h.cfg.Run(ctx, Command{Args: []string{jdk.Java, "-version"}})
	m := versionLine.FindStringSubmatch(out)
	if err != nil || m == nil {
		return ""
	}
	jdk.Version, jdk.Major = m[2], majorOf(m[2])
	return out
}

// buildKey digests what differs between builds: what the build says of itself,
// and size and time of the class library and of the virtual machine. A
// class-data archive is valid for exactly one such build.
func (h *Host) buildKey(home, release string) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%q\n", release)
	for _, name := range []string{"lib/modules", "lib/server/libjvm.so", "jre/lib/rt.jar", "lib/rt.jar"} {
		if fi, err := os.Stat(h.real(filepath.Join(home, name))); err == nil {
			fmt.Fprintf(sum, "%s %d %d\n", name, fi.Size(), fi.ModTime().UnixNano())
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:12]
}

// numbers returns the leading numeric parts of a version: 17.0.15+6 is 17 0 15 6.
func numbers(version string) []int {
	var out []int
	for _, part := range strings.FieldsFunc(version, func(r rune) bool { return strings.ContainsRune("._+-", r) }) {
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		out = append(out, n)
	}
	return out
}

// majorOf returns the feature release: 8 for 1.8.0_402, 17 for 17.0.15; 0 for no version.
func majorOf(version string) int {
	n := numbers(version)
	if len(n) > 1 && n[0] == 1 {
		return n[1]
	}
	if len(n) > 0 {
		return n[0]
	}
	return 0
}

// isLTS reports whether a feature release has long-term support: 8, 11, 17 and
// every fourth one since.
func isLTS(major int) bool {
	return major == 8 || major == 11 || major >= 17 && (major-17)%4 == 0
}

// Choose picks the Java to use among those with a feature release from lowest
// to highest (0 for no upper limit): the one JAVA_HOME names, else the newest
// with long-term support, else the newest. The error says what was found and
// how to install one.
func Choose(jdks []JDK, lowest, highest int) (JDK, error) {
	var in []JDK
	for _, j := range jdks {
		if j.Major >= lowest && (highest == 0 || j.Major <= highest) {
			if j.Source == "JAVA_HOME" {
				return j, nil
			}
			in = append(in, j)
		}
	}
	if len(in) == 0 {
		return JDK{}, fmt.Errorf("%s is needed; %s; install it with: apt-get install %s",
			javaRange(lowest, highest), foundJDKs(jdks), javaPackages(Release{}, lowest, highest)[0])
	}
	return slices.MaxFunc(in, func(a, b JDK) int {
		if isLTS(a.Major) != isLTS(b.Major) {
			if isLTS(a.Major) {
				return 1
			}
			return -1
		}
		if a.Major != b.Major {
			return a.Major - b.Major
		}
		return slices.Compare(numbers(a.Version), numbers(b.Version))
	}), nil
}

func javaRange(lowest, highest int) string {
	switch {
	case highest == 0 && lowest == 0:
		return "Java"
	case highest == 0:
		return fmt.Sprintf("Java %d or newer", lowest)
	case lowest == highest:
		return fmt.Sprintf("Java %d", lowest)
	case lowest == 0:
		return fmt.Sprintf("Java up to %d", highest)
	}
	return fmt.Sprintf("Java %d to %d", lowest, highest)
}

func foundJDKs(jdks []JDK) string {
	if len(jdks) == 0 {
		return "none was found in JAVA_HOME, PATH, /usr/lib/jvm or SDKMAN"
	}
	var parts []string
	for _, j := range jdks {
		parts = append(parts, j.Version+" in "+j.Home)
	}
	return "found " + strings.Join(parts, ", ")
}

// javaPackages returns the Debian packages that bring a Java in the range, the
// likeliest to exist in the release first; never none.
func javaPackages(os Release, lowest, highest int) []string {
	order := []int{17, 21, 25, 11, 8}
	switch {
	case os.ID == "debian" && os.Major() >= 13:
		order = []int{21, 25, 17, 11, 8}
	case os.ID == "ubuntu" && os.Major() >= 26:
		order = []int{21, 25, 17, 11, 8}
	}
	var out []string
	for _, m := range order {
		if m >= lowest && (highest == 0 || m <= highest) {
			out = append(out, fmt.Sprintf("openjdk-%d-jre-headless", m))
		}
	}
	if len(out) == 0 {
		out = append(out, fmt.Sprintf("openjdk-%d-jre-headless", max(lowest, highest)))
	}
	return out
}
