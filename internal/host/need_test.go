package host

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

const bookworm = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n"

func TestCheck(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		runs  map[string]func(Command) (string, error)
		need  Need
		want  string // Result.String, then packages
	}{
		{"java", jdkFiles("/usr/lib/jvm/j", "17.0.15", "x"), nil, Need{Kind: NeedJava, Min: 17, Max: 21}, "java 17.0.15 []"},
		{"no java", nil, nil, Need{Kind: NeedJava, Min: 17, Max: 21}, "java: Java 17 to 21 is needed; none was found in JAVA_HOME, PATH, /usr/lib/jvm or SDKMAN [openjdk-17-jre-headless openjdk-21-jre-headless]"},
		{"no java on trixie", map[string]string{"/etc/os-release": "ID=debian\nVERSION_ID=13\n"}, nil, Need{Kind: NeedJava, Min: 17}, "java: Java 17 or newer is needed; none was found in JAVA_HOME, PATH, /usr/lib/jvm or SDKMAN [openjdk-21-jre-headless openjdk-25-jre-headless openjdk-17-jre-headless]"},
		{"maven by its jar", map[string]string{"/opt/mvn/bin/mvn*": "", "/opt/mvn/lib/maven-core-3.9.6.jar": "", "/usr/bin/mvn": "-> ../../opt/mvn/bin/mvn"}, nil, Need{Kind: NeedMaven, Version: "3.6"}, "maven 3.9.6 []"},
		{"maven of debian", map[string]string{"/usr/share/maven/bin/mvn*": "", "/usr/share/maven/lib/maven-core-3.x.jar": "", "/usr/bin/mvn": "-> ../share/maven/bin/mvn", "/usr/share/maven-repo/org/apache/maven/maven-core/3.x/x": "", "/usr/share/maven-repo/org/apache/maven/maven-core/3.8.7/x": ""}, nil, Need{Kind: NeedMaven}, "maven 3.8.7 []"},
		{"maven by running it", map[string]string{"/usr/bin/mvn*": ""}, map[string]func(Command) (string, error){"/usr/bin/mvn -v": says("\x1b[1mApache Maven 4.0.0-rc-2 (abc)\x1b[m\n")}, Need{Kind: NeedMaven, Version: "3.6"}, "maven 4.0.0-rc-2 []"},
		{"maven too old", map[string]string{"/usr/bin/mvn*": "", "/usr/lib/maven-core-3.0.5.jar": ""}, nil, Need{Kind: NeedMaven, Version: "3.6.3"}, "maven: Maven 3.6.3 or newer is needed; /usr/bin/mvn is 3.0.5 [maven]"},
		{"maven without java", map[string]string{"/usr/bin/mvn*": ""}, map[string]func(Command) (string, error){"/usr/bin/mvn -v": fails(1, "The JAVA_HOME environment variable is not defined correctly\n", "")}, Need{Kind: NeedMaven}, "maven: /usr/bin/mvn does not work: exit status 100: The JAVA_HOME environment variable is not defined correctly [maven]"},
		{"no maven", nil, nil, Need{Kind: NeedMaven}, "maven: Maven is needed; there is no mvn on PATH [maven]"},
		{"cc", map[string]string{"/usr/bin/cc*": ""}, map[string]func(Command) (string, error){"/usr/bin/cc -x c": says(""), "/usr/bin/cc --version": says("cc (Debian 12.2.0-14+deb12u1) 12.2.0\nCopyright\n")}, Need{Kind: NeedCC}, "cc 12.2.0 []"},
		{"clang", map[string]string{"/usr/bin/clang*": ""}, map[string]func(Command) (string, error){"/usr/bin/clang -x c": says(""), "/usr/bin/clang --version": says("Debian clang version 14.0.6\n")}, Need{Kind: NeedCC}, "cc 14.0.6 []"},
		{"cc without headers", map[string]string{"/usr/bin/cc*": ""}, map[string]func(Command) (string, error){"/usr/bin/cc -x c": fails(1, "x\n<stdin>:1:10: fatal error: stdio.h: No such file or directory\n", "")}, Need{Kind: NeedCC}, "cc: /usr/bin/cc cannot compile a program: exit status 100: <stdin>:1:10: fatal error: stdio.h: No such file or directory [gcc libc6-dev]"},
		{"no cc", nil, nil, Need{Kind: NeedCC}, "cc: a C compiler is needed; there is no cc, gcc or clang on PATH [gcc libc6-dev]"},
		{"disk", nil, nil, Need{Kind: NeedDisk, Path: "/var/x", Bytes: 3 << 30}, "disk 5.0 GiB []"},
		{"disk full", nil, nil, Need{Kind: NeedDisk, Path: "/var/x", Bytes: 6 << 30}, "disk: 6.0 GiB is needed in /var/x; 5.0 GiB is free []"},
		{"memory", map[string]string{"/proc/meminfo": meminfo16}, nil, Need{Kind: NeedMemory, Bytes: 1 << 30}, "memory 8.0 GiB []"},
		{"too little memory", map[string]string{"/proc/meminfo": "MemTotal: 2048 kB\nMemAvailable: 1024 kB\n"}, nil, Need{Kind: NeedMemory, Bytes: 1 << 30}, "memory: 1.0 GiB of memory is needed; 1 MiB of 2 MiB is free []"},
		{"unknown", nil, nil, Need{Kind: "tea"}, "tea: this version knows no such prerequisite []"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, merge(map[string]string{"/etc/os-release": bookworm, "/var/x": ""}, tt.files))
			w.runs, w.free = tt.runs, 5<<30
			r := w.host().Check(t.Context(), []Need{tt.need})[0]
			got := r.String() + " [" + strings.Join(append(r.Packages, r.Alternatives...), " ") + "]"
			if got != tt.want {
				t.Errorf("\ngot  %s\nwant %s", got, tt.want)
			}
			if r.OK == (r.Problem != "") || r.Need != tt.need {
				t.Errorf("%+v", r)
			}
		})
	}
}

var (
	noJava  = Result{Need: Need{Kind: NeedJava, Min: 17, Max: 21}, Wanted: "Java 17 to 21", Problem: "x", Alternatives: []string{"openjdk-17-jre-headless", "openjdk-21-jre-headless"}}
	noMaven = Result{Need: Need{Kind: NeedMaven}, Wanted: "Maven", Problem: "x", Packages: []string{"maven"}}
	noCC    = Result{Need: Need{Kind: NeedCC}, Wanted: "a C compiler", Problem: "x", Packages: []string{"gcc", "libc6-dev"}}
	noDisk  = Result{Need: Need{Kind: NeedDisk}, Wanted: "disk", Problem: "6.0 GiB is needed in /x; 5.0 GiB is free"}
	isThere = Result{Need: Need{Kind: NeedCC}, OK: true}
)

const (
	installJavaMaven = "apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-confold openjdk-17-jre-headless maven"
	locked           = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1234 (unattended-upgr)\nE: Unable to acquire the dpkg frontend lock\n"
	lists            = "/var/lib/apt/lists/x_Packages.lz4"
)

func TestInstall(t *testing.T) {
	type programs = map[string]func(Command) (string, error)
	base := programs{
		"apt-get update":              says(""),
		"apt-get install":             says("Reading\nSetting up openjdk-17-jre-headless:amd64 (17.0.15+6-1) ...\nSetting up maven (3.8.7-1) ...\n"),
		"apt-cache policy openjdk-17": says("  Candidate: 17.0.15\n"), "apt-cache policy openjdk-21": says("  Candidate: (none)\n"),
	}
	tests := []struct {
		name     string
		files    map[string]string
		runs     programs
		results  []Result
		uid      int
		forbid   bool
		ran      []string
		progress []string
		err      string
		slept    time.Duration
	}{
		{name: "nothing is missing", results: []Result{isThere}},
		{
			name: "as root", files: map[string]string{lists: ""}, results: []Result{isThere, noJava, noMaven},
			ran:      []string{"apt-cache policy openjdk-17-jre-headless", installJavaMaven},
			progress: []string{"installing openjdk-17-jre-headless for Java 17 to 21", "installing maven for Maven", "installed openjdk-17-jre-headless 17.0.15+6-1", "installed maven 3.8.7-1"},
		},
		{
			name: "empty lists are filled first", results: []Result{noCC},
			ran:      []string{"apt-get update", "apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-confold gcc libc6-dev"},
			progress: []string{"reading the package lists (apt-get update)", "installing gcc libc6-dev for a C compiler", "installed openjdk-17-jre-headless 17.0.15+6-1", "installed maven 3.8.7-1"},
		},
		{
			name: "no such java in the lists", files: map[string]string{lists: ""}, runs: programs{"apt-cache policy openjdk-17": says("")}, results: []Result{noJava},
			ran:      []string{"apt-cache policy openjdk-17-jre-headless", "apt-cache policy openjdk-21-jre-headless", "apt-get update", "apt-cache policy openjdk-17-jre-headless", "apt-cache policy openjdk-21-jre-headless"},
			progress: []string{"reading the package lists (apt-get update)"},
			err:      "cannot install Java 17 to 21: Debian GNU/Linux 12 (bookworm) has no package openjdk-17-jre-headless or openjdk-21-jre-headless; install it by hand and set JAVA_HOME",
		},
		{
			name: "through sudo", uid: 1000, files: map[string]string{lists: "", "/usr/bin/sudo*": ""}, runs: programs{"sudo -n true": says(""), "sudo -n env": says("")}, results: []Result{noMaven},
			ran:      []string{"sudo -n true", "sudo -n env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 LC_ALL=C apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-confold maven"},
			progress: []string{"installing maven for Maven"},
		},
		{
			name: "sudo asks", uid: 1000, files: map[string]string{"/usr/bin/sudo*": ""}, runs: programs{"sudo -n true": fails(1, "a password is required", "")}, results: []Result{noMaven, noJava}, ran: []string{"sudo -n true"},
			err: "cannot install Maven, Java 17 to 21: installing packages needs root, and sudo asks for a password; run: sudo apt-get install -y --no-install-recommends maven openjdk-17-jre-headless",
		},
		{
			name: "switched off", forbid: true, results: []Result{noCC},
			err: "cannot install a C compiler: installing packages is switched off (HOWDAH_INSTALL=0); run: apt-get install -y --no-install-recommends gcc libc6-dev",
		},
		{name: "disk cannot be installed", results: []Result{noCC, noDisk}, err: "disk: 6.0 GiB is needed in /x; 5.0 GiB is free"},
		{
			name: "locked for a while", files: map[string]string{lists: ""}, runs: programs{"apt-get install": fails(12, locked, "")}, results: []Result{noMaven}, slept: 36 * time.Second,
			ran:      slices.Repeat([]string{"apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-confold maven"}, 13),
			progress: []string{"installing maven for Maven", "waiting for unattended-upgr (process 1234), 0s of at most 1m0s", "waiting for unattended-upgr (process 1234), 30s of at most 1m0s"},
		},
		{
			name: "locked for good", files: map[string]string{lists: ""}, runs: programs{"apt-get install": fails(99, locked, "")}, results: []Result{noMaven}, slept: time.Minute,
			ran:      slices.Repeat([]string{"apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-confold maven"}, 21),
			progress: []string{"installing maven for Maven", "waiting for unattended-upgr (process 1234), 0s of at most 1m0s", "waiting for unattended-upgr (process 1234), 30s of at most 1m0s"},
			err:      "cannot run apt-get install: unattended-upgr (process 1234) still runs after 1m0s; try again when it is done",
		},
		{
			name: "interrupted before", files: map[string]string{lists: ""}, runs: programs{"apt-get install": fails(1, "E: dpkg was interrupted, you must manually run 'dpkg --configure -a'\n", ""), "dpkg": says("")}, results: []Result{noMaven},
			ran:      []string{"apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-confold maven", "dpkg --configure -a --force-confold", "apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-confold maven"},
			progress: []string{"installing maven for Maven", "completing an interrupted installation (dpkg --configure -a)"},
		},
		{
			name: "stale lists", files: map[string]string{lists: ""}, runs: programs{"apt-get install": fails(1, "E: Unable to fetch some archives, maybe run apt-get update\n", "")}, results: []Result{noMaven},
			ran:      []string{"apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-confold maven", "apt-get update", "apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-confold maven"},
			progress: []string{"installing maven for Maven", "reading the package lists (apt-get update)"},
		},
		{
			name: "no network", runs: programs{"apt-get update": fails(1, "Err:1 http://deb.example.org\nE: The repository has no Release file.\n", "")}, results: []Result{noMaven}, ran: []string{"apt-get update"},
			progress: []string{"reading the package lists (apt-get update)"},
			err:      "cannot run apt-get update: exit status 100: E: The repository has no Release file.",
		},
		{
			name: "fedora", files: map[string]string{"/etc/os-release": "ID=fedora"}, results: []Result{noJava, noMaven, noCC},
			err: "cannot install Java 17 to 21, Maven, a C compiler: Howdah installs packages on Debian and Ubuntu only; run: dnf install -y java-17-openjdk-headless maven gcc glibc-devel",
		},
		{
			name: "alpine", uid: 1, files: map[string]string{"/etc/os-release": "ID=alpine"}, results: []Result{noJava, noCC},
			err: "cannot install Java 17 to 21, a C compiler: Howdah installs packages on Debian and Ubuntu only; run: sudo apk add openjdk17-jre-headless gcc musl-dev",
		},
		{
			name: "arch", files: map[string]string{"/etc/os-release": "ID=arch"}, results: []Result{noJava, noCC},
			err: "cannot install Java 17 to 21, a C compiler: Howdah installs packages on Debian and Ubuntu only; run: pacman -S --needed --noconfirm jre17-openjdk-headless gcc",
		},
		{
			name: "suse", files: map[string]string{"/etc/os-release": "ID=opensuse-leap\nID_LIKE=\"suse opensuse\""}, results: []Result{noJava},
			err: "cannot install Java 17 to 21: Howdah installs packages on Debian and Ubuntu only; run: zypper install -y java-17-openjdk-headless",
		},
		{
			name: "another system", files: map[string]string{"/etc/os-release": "ID=nixos"}, results: []Result{noMaven},
			err: "cannot install Maven: Howdah installs packages on Debian and Ubuntu only; install them with your package manager",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, merge(map[string]string{"/etc/os-release": bookworm, "/usr/bin/apt-get*": ""}, tt.files))
			w.uid = tt.uid
			maps.Copy(w.runs, base)
			maps.Copy(w.runs, tt.runs)
			var progress []string
			err := w.host().Install(t.Context(), tt.results, InstallOptions{Allow: !tt.forbid, LockWait: time.Minute, Progress: func(l string) { progress = append(progress, l) }})
			if err == nil {
				err = errors.New("")
			}
			if err.Error() != tt.err {
				t.Errorf("\ngot  %s\nwant %s", err, tt.err)
			}
			if !slices.Equal(w.ran, tt.ran) {
				t.Errorf("ran\n  %s\nwant\n  %s", strings.Join(w.ran, "\n  "), strings.Join(tt.ran, "\n  "))
			}
			if !slices.Equal(progress, tt.progress) {
				t.Errorf("said\n  %s\nwant\n  %s", strings.Join(progress, "\n  "), strings.Join(tt.progress, "\n  "))
			}
			if w.slept != tt.slept {
				t.Errorf("slept %s", w.slept)
			}
		})
	}
}
