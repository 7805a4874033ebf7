package harness

import "strings"

// idle is a kind of cluster that costs next to nothing; what is asked of it happens
// for real.
const idle = `name: idle
summary: does nothing
version: "1"
java: {min: 17}
roles:
  idle: {services: [idle], memoryMB: 32}
services:
  idle:
    command: [python3, -m, http.server, "${port.web}", --bind, "${self.ip}", --directory, "${dir.tmp}"]
    ports: {web: 8000}
    ready: {tcp: "${self.ip}:${port.web}"}
default:
  nodeGroups:
    - {name: server, roles: [idle], instanceNum: 1}
`

// IdleStacks is a folder with the one stack "idle", for howdah up --stacks.
func (h *Home) IdleStacks() string {
	h.t.Helper()
	return strings.TrimSuffix(h.Write("stacks/idle/stack.yaml", idle), "/idle/stack.yaml")
}
