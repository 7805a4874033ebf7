package app

import (
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
)

// Bounds of what labels become variables, Marathon's.
const (
	maxLabelValue = 512
	labelPrefix   = "MARATHON_APP_LABEL_"
)

// Environment returns the variables of one instance: those Marathon gives every task
// and those of the app, which win. host is the worker's name; ports has one host port
// for each of a.Ports, 0 (or nothing at the end) where none is allotted; prefix goes
// before HOST and PORT* only. Variables that come from secrets are not in it: see
// SecretEnv. version is the app's, as text. A container port that nobody chose is the
// host's, or one derived from the task's id.
func Environment(a *App, taskID, host string, ports []int, version, prefix string) map[string]string {
	env := map[string]string{
		"MESOS_TASK_ID":              taskID,
		"MARATHON_APP_ID":            a.ID,
		"MARATHON_APP_VERSION":       version,
		"MARATHON_APP_RESOURCE_CPUS": decimal(a.CPUs),
		"MARATHON_APP_RESOURCE_MEM":  decimal(a.Mem),
		"MARATHON_APP_RESOURCE_DISK": decimal(a.Disk),
		"MARATHON_APP_RESOURCE_GPUS": strconv.Itoa(a.GPUs),
	}
	if a.Container != nil && a.Container.Docker != nil {
		env["MARATHON_APP_DOCKER_IMAGE"] = a.Container.Docker.Image
	}
	labelEnv(env, a.Labels)
	env[prefix+"HOST"] = host
	for name, value := range portEnv(a, ports, taskID) {
		env[prefix+name] = value
	}
	for name, v := range a.Env {
		if v.Secret == "" {
			env[name] = v.Value
		} else {
			delete(env, name)
		}
	}
	return env
}

// decimal writes a number as Scala does: 1.0, 0.25.
func decimal(f float64) string {
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func labelEnv(env map[string]string, labels map[string]string) {
	names := make([]string, 0, len(labels))
	for key, value := range labels {
		if len(key) < maxLabelValue-len(labelPrefix) && len(value) < maxLabelValue {
			names = append(names, key)
		}
	}
	slices.Sort(names) // of two labels that become one variable the last wins, always the same
	written := make([]string, len(names))
	for i, key := range names {
		written[i] = labelVariable(key)
		env[labelPrefix+written[i]] = labels[key]
	}
	env["MARATHON_APP_LABELS"] = strings.Join(distinct(written), " ")
}

// labelVariable writes a label's name in capitals, runs of other marks as one
// underscore.
func labelVariable(key string) string {
	var b strings.Builder
	replaced := false
	for _, r := range key {
		if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			b.WriteRune(r)
			replaced = false
		} else if !replaced {
			b.WriteByte('_')
			replaced = true
		}
	}
	return strings.ToUpper(b.String())
}

// portEnv returns PORT, PORTS, PORT0..., PORT_<number> and PORT_<NAME>. The value is
// the host's port, or the container's where there is none; the number is the port
// asked for: the container's, or in host mode the service port.
func portEnv(a *App, host []int, taskID string) map[string]string {
	env := map[string]string{}
	inside := ContainerPorts(a, taskID, host)
	var first, then []string
	for i, p := range a.Ports() {
		asked := p.Container
		if a.Host() {
			asked = p.Service
		}
		number := at(host, i)
		switch {
		case number != 0:
			first = append(first, strconv.Itoa(number))
		case a.Host():
			continue
		case asked == 0:
			then = append(then, strconv.Itoa(inside[i]))
			fallthrough
		default:
			number = inside[i]
		}
		value := strconv.Itoa(number)
		env["PORT"+strconv.Itoa(i)] = value
		if asked == 0 {
			asked = number
		}
		env["PORT_"+strconv.Itoa(asked)] = value
		if p.Name != "" {
			env["PORT_"+strings.ToUpper(p.Name)] = value
		}
	}
	if len(env) > 0 {
		all := slices.Concat(first, then)
		env["PORTS"] = strings.Join(all, ",")
		if len(all) > 0 {
			env["PORT"] = all[0]
		}
	}
	return env
}

func at(list []int, i int) int {
	if i < len(list) {
		return list[i]
	}
	return 0
}

// ContainerPorts returns the port that each of a.Ports has inside the container of a
// task: the one asked for, else the host's, else one above 1024 that follows from the
// task's id and is no other port of the task.
func ContainerPorts(a *App, taskID string, host []int) []int {
	ports := a.Ports()
	used := map[int]bool{0: true}
	for i, p := range ports {
		used[p.Container], used[at(host, i)] = true, true
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(taskID)) // never fails
	next := int(h.Sum32() % 60000)
	out := make([]int, len(ports))
	for i, p := range ports {
		switch {
		case a.Host():
			out[i] = at(host, i)
		case p.Container != 0:
			out[i] = p.Container
		case at(host, i) != 0:
			out[i] = at(host, i)
		default:
			for out[i] = 1025 + next; used[out[i]]; out[i] = 1025 + next {
				next = (next + 1) % 60000
			}
			used[out[i]] = true
		}
	}
	return out
}
