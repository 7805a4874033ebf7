// Package policy owns what a project's apps and tasks may ask for: safe by default,
// opened by the operator. Values in, values out: it resolves no names, opens no
// files and knows neither scheduler nor worker. What can only be seen on the worker
// (symbolic links, addresses behind names) is checked there, with UnderPrefix and
// BlockedIP.
package policy

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"howdah.dev/howdah/internal/image"
)

// Policy is what a project may ask for. The zero value allows nothing special: apps
// in containers with a network of their own and without host paths.
type Policy struct {
	Privileged  bool `json:"privileged,omitempty"`
	HostNetwork bool `json:"hostNetwork,omitempty"` // plain commands have no other
	// HostVolumes are absolute paths; they and what is below them may be mounted.
	HostVolumes []string `json:"hostVolumes,omitempty"`
	// DockerParameters are keys allowed besides label, ulimit, hostname and env.
	DockerParameters []string `json:"dockerParameters,omitempty"`
	// Users are names, numbers, or ranges of numbers such as 20000-20999. A container
	// that names no user has the image's and is always allowed.
	Users []string `json:"users,omitempty"`
	// RootForPlainCommands allows root, and no user, which is the worker's own.
	RootForPlainCommands bool `json:"rootForPlainCommands,omitempty"`
	// Project is whose policy it is.
	Project string `json:"-"`
	// Secrets are beginnings of sources of secrets that may be used, besides those
	// that begin with the project's name and a slash; "" is all.
	Secrets []string `json:"secrets,omitempty"`
	// Datasets are paths of the warehouse; they and what is below them may be used,
	// save what is declared.
	Datasets []string `json:"datasets,omitempty"`
	// Declared are all declared datasets. Of their folders the declaration decides.
	Declared []Dataset `json:"-"`
	// Unknown says why it is not known what is declared; then no path may be used.
	Unknown string `json:"-"`
	// LocalFetch allows URIs of loopback and link-local addresses.
	LocalFetch bool `json:"localFetch,omitempty"`
	// Images are projects whose images of the own registry may be used; * is all.
	Images []string `json:"images,omitempty"`
	// Registry is the own registry's host:port. Without it images are not looked at.
	Registry string `json:"registry,omitempty"`
}

// Dataset is a declared dataset as a project sees it.
type Dataset struct {
	Name, Path, Owner string
	Read, Write       bool // what the project may do
}

// Finding is one thing that is denied.
type Finding struct {
	Pointer string `json:"pointer"` // JSON pointer into the app or the task
	Message string `json:"message"`
	Remedy  string `json:"remedy"`
}

// Problems says what is wrong with the policy itself, one sentence each.
func (p Policy) Problems() []string {
	var out []string
	for _, v := range p.HostVolumes {
		if !strings.HasPrefix(v, "/") || path.Clean(v) != strings.TrimSuffix(v, "/") && v != "/" {
			out = append(out, fmt.Sprintf("hostVolumes: %q must be a clean absolute path", v))
		}
	}
	for _, d := range p.Datasets {
		if !strings.HasPrefix(d, "/") || path.Clean(d) != d {
			out = append(out, fmt.Sprintf("datasets: %q must be a clean absolute path", d))
		}
	}
	for _, u := range p.Users {
		if lo, hi, isRange := userRange(u); u == "" || isRange && lo > hi {
			out = append(out, fmt.Sprintf("users: %q must be a name, a number, or a range such as 20000-20999", u))
		}
	}
	return out
}

// Check says what of a wish a policy denies, all of it at once.
func Check(w Wish, p Policy) []Finding {
	var found []Finding
	for _, a := range w.Asks {
		message, remedy := p.judge(a, w)
		if message != "" {
			found = append(found, Finding{Pointer: a.Pointer, Message: message, Remedy: remedy})
		}
	}
	return found
}

const askOperator = "or ask the operator to allow it for the project"

func (p Policy) judge(a Ask, w Wish) (message, remedy string) {
	switch a.Kind {
	case AskPrivileged:
		if !p.Privileged {
			return "privileged containers are not allowed for this project", "Remove privileged, " + askOperator + "."
		}
	case AskHostNetwork:
		if !p.HostNetwork {
			return "the network of the host is not allowed for this project",
				`Use "networks": [{"mode": "container/bridge"}] (a plain command becomes a container of type MESOS), ` + askOperator + "."
		}
	case AskHostVolume:
		return p.judgeVolume(a.Value)
	case AskDataset:
		return p.judgeDataset(a.Value)
	case AskMountPoint:
		return judgeMountPoint(a.Value)
	case AskSandboxPath:
		if escapes(a.Value) {
			return fmt.Sprintf("%q leaves the sandbox", clip(a.Value)), "Write a relative path without \"..\"."
		}
	case AskParameter:
		return p.judgeParameter(a.Value, w.TaskID)
	case AskUser:
		return p.judgeUser(a.Value, w.Plain)
	case AskFetch:
		return p.judgeFetch(a.Value)
	case AskImage:
		return p.judgeImage(a.Value)
	case AskSecret:
		return p.judgeSecret(a.Value)
	}
	return "", ""
}

func (p Policy) judgeVolume(host string) (message, remedy string) {
	if !strings.HasPrefix(host, "/") {
		return fmt.Sprintf("the host path %q is not absolute", clip(host)), "Write an absolute path."
	}
	for _, prefix := range p.HostVolumes {
		if UnderPrefix(host, prefix) {
			return "", ""
		}
	}
	if len(p.HostVolumes) == 0 {
		return "host volumes are not allowed for this project", "Use a dataset, or the sandbox, " + askOperator + "."
	}
	return fmt.Sprintf("the host path %q is not below a path allowed for this project (%s)", clip(host), strings.Join(p.HostVolumes, ", ")),
		"Use one of these paths, " + askOperator + "."
}

// UnderPrefix tells whether an absolute path is a prefix or lies below it, both
// cleaned first. It looks at words only: resolve symbolic links before.
func UnderPrefix(p, prefix string) bool {
	if !strings.HasPrefix(p, "/") || !strings.HasPrefix(prefix, "/") || strings.ContainsRune(p, 0) {
		return false
	}
	p, prefix = path.Clean(p), path.Clean(prefix)
	return prefix == "/" || p == prefix || strings.HasPrefix(p, prefix+"/")
}

// judgeMountPoint protects what the runtime itself mounts.
func judgeMountPoint(at string) (message, remedy string) {
	remedy = "Mount it elsewhere, for example below /mnt."
	if strings.ContainsRune(at, 0) || slices.Contains(strings.Split(at, "/"), "..") {
		return fmt.Sprintf("the container path %q goes upwards", clip(at)), remedy
	}
	if !strings.HasPrefix(at, "/") {
		return "", "" // below the sandbox
	}
	at = path.Clean(at)
	for _, own := range []string{"/proc", "/sys", "/dev"} {
		if at == "/" || UnderPrefix(at, own) {
			return fmt.Sprintf("nothing can be mounted at %s", clip(at)), remedy
		}
	}
	return "", ""
}

func escapes(p string) bool {
	return strings.HasPrefix(p, "/") || strings.ContainsRune(p, 0) || slices.Contains(strings.Split(p, "/"), "..")
}

// freeParameters are options of Docker that reach nothing outside the container.
func freeParameters() []string { return []string{"label", "ulimit", "hostname", "env"} }

// taskLabel is the label by which tools find the container of a task.
const taskLabel = "MESOS_TASK_ID"

func (p Policy) judgeParameter(parameter, taskID string) (message, remedy string) {
	key, value, _ := strings.Cut(parameter, "=")
	if key == "label" {
		name, id, _ := strings.Cut(value, "=")
		ours := name == taskLabel && (taskID == "" || id != taskID) || strings.HasPrefix(name, "dev.howdah.")
		if ours {
			return "the label " + clip(name) + " is set by Howdah itself", "Choose another label."
		}
	}
	if slices.Contains(freeParameters(), key) || slices.Contains(p.DockerParameters, key) {
		return "", ""
	}
	return fmt.Sprintf("the Docker parameter %q is not allowed for this project", clip(key)),
		"Use only " + strings.Join(freeParameters(), ", ") + ", " + askOperator + "."
}

func (p Policy) judgeUser(user string, plain bool) (message, remedy string) {
	n, err := strconv.ParseUint(user, 10, 32)
	root := user == "root" || user == "" || err == nil && n == 0
	switch {
	case plain && root && p.RootForPlainCommands:
		return "", ""
	case plain && user == "":
		return "a plain command that names no user runs as the worker's own, and the project may not", "Name a user that is allowed (" + listed(p.Users, "none is") + "), or use a container, " + askOperator + "."
	case plain && root:
		return "plain commands may not run as root", "Name a user that is allowed (" + listed(p.Users, "none is") + "), or use a container, " + askOperator + "."
	}
	for _, allowed := range p.Users {
		lo, hi, isRange := userRange(allowed)
		if allowed == user || isRange && err == nil && n >= lo && n <= hi {
			return "", ""
		}
	}
	return fmt.Sprintf("the user %q is not allowed for this project", clip(user)), "Remove user, " + askOperator + "."
}

// judgeSecret ties sources to projects: a file below the project's name, or a
// variable that begins with SECRET_ and the project's name in upper case.
func (p Policy) judgeSecret(source string) (message, remedy string) {
	own := p.Project + "/"
	variable := "env:SECRET_" + strings.ToUpper(strings.ReplaceAll(p.Project, "-", "_")) + "_"
	for _, prefix := range append([]string{own, variable}, p.Secrets...) {
		if strings.HasPrefix(source, prefix) && !slices.Contains(strings.Split(source, "/"), "..") {
			return "", ""
		}
	}
	return fmt.Sprintf("the secret %s is not the project's", clip(source)), "Use one whose source begins with " + own + " or " + variable + ", " + askOperator + "."
}

// userRange reads "20000-20999"; a single number is a range of one.
func userRange(s string) (lo, hi uint64, ok bool) {
	first, last, two := strings.Cut(s, "-")
	if !two {
		last = first
	}
	lo, err1 := strconv.ParseUint(first, 10, 32)
	hi, err2 := strconv.ParseUint(last, 10, 32)
	return lo, hi, err1 == nil && err2 == nil
}

// clip shortens what is shown of a user's value.
func clip(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// judgeImage checks whose image of the own registry it is. Others' registries know
// themselves who may have what.
func (p Policy) judgeImage(name string) (message, remedy string) {
	if p.Registry == "" || slices.Contains(p.Images, "*") {
		return "", ""
	}
	_, project := image.Own(name, p.Registry)
	if project == "" || slices.Contains(p.Images, project) {
		return "", ""
	}
	return fmt.Sprintf("the image %s is one of project %s", clip(name), clip(project)),
		"Push it to a repository of " + strings.Join(p.Images, " or ") + ", " + askOperator + "."
}

// listed names what is allowed, or says that there is none.
func listed(words []string, none string) string {
	if len(words) == 0 {
		return none
	}
	return strings.Join(words, ", ")
}
