package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"howdah.dev/howdah/internal/agentapi"
)

// The clusters whose daemons are started side by side.
var columns = []string{"warehouse", "batch"} //nolint:gochecknoglobals // a constant list

// daemons is how many services they have.
const daemons = 8

// launchers writes what a person would write who starts the same programs by
// hand: a script for each with the same flags, heaps, files, addresses and
// environment, and the questions that tell when it is ready. Only the flags
// that name an archive are left out.
func (h *home) launchers(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	as, err := h.assignments()
	if err != nil {
		return err
	}
	var ready []string
	for _, a := range as {
		if !slices.Contains(columns, a.Node.Cluster) {
			continue
		}
		var host agentapi.HostFile
		if err := readJSON(filepath.Join(h.dir, "nodes", a.Node.Cluster, a.Node.Name, "host.json"), &host); err != nil {
			return err
		}
		for _, s := range a.Services {
			name := a.Node.Name + "-" + s.Name
			if err := os.WriteFile(filepath.Join(dir, name+".start"), []byte(launcher(s, host.Env)), 0o644); err != nil {
				return err
			}
			pattern, err := pattern(s.Name, a.Node.Address)
			if err != nil {
				return err
			}
			ready = append(ready, strings.Join([]string{name, s.Ready.HTTP, pattern}, "\t")+"\n")
		}
	}
	if len(ready) != daemons {
		return fmt.Errorf("the home has %d services of %s, not %d", len(ready), strings.Join(columns, " and "), daemons)
	}
	return os.WriteFile(filepath.Join(dir, "ready"), []byte(strings.Join(ready, "")), 0o644)
}

// launcher is one script. The labels that tell whose process it is are left
// out: these are nobody's but the script's that started them.
func launcher(s agentapi.Service, host map[string]string) string {
	env := map[string]string{}
	for _, k := range []string{"PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR"} {
		if v, ok := os.LookupEnv(k); ok {
			env[k] = v
		}
	}
	maps.Copy(env, host)
	maps.Copy(env, s.Env)
	words := []string{"exec", "env", "-i"}
	for _, k := range slices.Sorted(maps.Keys(env)) {
		words = append(words, quote(k+"="+env[k]))
	}
	for _, a := range s.Argv {
		if !archiveFlag(a) {
			words = append(words, quote(a))
		}
	}
	return "cd " + quote(s.Dir) + " || exit 1\n" + strings.Join(words, " ") + "\n"
}

// archiveFlag reports whether a flag is one of those an archive brings.
func archiveFlag(a string) bool {
	return strings.HasPrefix(a, "-XX:SharedArchiveFile=") || strings.HasPrefix(a, "-Xshare:") || strings.HasPrefix(a, "-Xlog:")
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// pattern is the stack's question as a regular expression over the answer.
func pattern(service, address string) (string, error) {
	switch service {
	case "namenode":
		return `"Safemode" : ""`, nil
	case "datanode":
		return `"LiveNodes" : .*` + strings.ReplaceAll(address, ".", `\.`) + ":9866", nil
	case "resourcemanager":
		return `"state":"STARTED".*"haState":"ACTIVE"`, nil
	case "jobhistory":
		return `"historyInfo"`, nil
	case "nodemanager":
		return `"state":"RUNNING"`, nil
	}
	return "", fmt.Errorf("no question is known for %s", service)
}
