package container

import "strings"

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Environment joins lists of variables; of a name the last value counts, where
// getenv would take the first. There is always a PATH.
func Environment(lists ...[]string) []string {
	at := map[string]int{}
	var env []string
	for _, list := range append([][]string{{defaultPath}}, lists...) {
		for _, e := range list {
			name, _, _ := strings.Cut(e, "=")
			if i, seen := at[name]; seen {
				env[i] = e
				continue
			}
			at[name] = len(env)
			env = append(env, e)
		}
	}
	return env
}
