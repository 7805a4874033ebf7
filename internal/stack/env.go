package stack

import (
	"github.com/expr-lang/expr/types"
)

// implicitDirs exist for every service: its home, configuration, logs, and a
// temporary directory.
var implicitDirs = []string{"home", "conf", "logs", "tmp"}

// clusterEnv declares what every expression of a stack may name.
func (s *Stack) clusterEnv() env {
	roles, links, ports := env{}, env{}, env{}
	for name := range s.Roles {
		roles[name] = types.Array(memberType)
	}
	for name, l := range s.Links {
		m := env{"cluster": types.String}
		for _, e := range l.Exports {
			m[e] = types.String
		}
		links[name] = m
	}
	for name, svc := range s.Services {
		m := env{}
		for p := range svc.Ports {
			m[p] = types.Int
		}
		ports[name] = m
	}
	return env{
		"cluster": env{"name": types.String, "id": types.String},
		"role":    roles,
		"leaving": roles,
		"links":   links,
		"ports":   ports,
	}
}

// hostEnv adds what is known only where a program runs.
func (s *Stack) hostEnv() env {
	sets, cps, cds := env{}, env{}, env{}
	for name := range s.Artifacts {
		sets[name] = types.String
	}
	for name := range s.Classpaths {
		cps[name] = types.String
		cds[name] = types.Array(types.String)
	}
	return with(s.clusterEnv(), env{
		"program":  types.String,
		"platform": env{"api": types.String},
		"java":     env{"home": types.String, "bin": types.String, "major": types.Int},
		"artifact": sets,
		"cp":       cps,
		"cds":      cds,
	})
}

// serviceEnv adds what one service has.
func (s *Stack) serviceEnv(svc Service) env {
	dirs, ports := env{}, env{}
	for _, d := range implicitDirs {
		dirs[d] = types.String
	}
	for d := range svc.Dirs {
		dirs[d] = types.String
	}
	for p := range svc.Ports {
		ports[p] = types.Int
	}
	return with(s.hostEnv(), env{"self": memberType, "dir": dirs, "port": ports, "heapMB": types.Int})
}

// pageEnv declares what the address of a service's page may name: it is asked
// for often, so it needs nothing of a host.
func (s *Stack) pageEnv(svc Service) env {
	ports := env{}
	for p := range svc.Ports {
		ports[p] = types.Int
	}
	return with(s.clusterEnv(), env{"self": memberType, "port": ports})
}

// clientEnv adds what the command line tools have.
func (s *Stack) clientEnv() env {
	return with(s.hostEnv(), env{"dir": env{"home": types.String, "conf": types.String, "logs": types.String, "tmp": types.String}})
}

// taskEnv adds what a smoke test or the submission of a workload has.
func (s *Stack) taskEnv() env {
	return with(s.clientEnv(), env{"self": memberType, "run": env{"id": types.String, "dir": types.String, "user": types.String}})
}

// workloadEnv adds what the user says of a workload.
func (s *Stack) workloadEnv() env {
	return with(s.taskEnv(), env{
		"jar": types.String, "main": types.String, "name": types.String, "id": types.String,
		"args": types.Array(types.String), "file": types.String, "properties": types.String,
	})
}
