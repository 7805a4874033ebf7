package badinput

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/test/e2e/harness"
)

const zk = `
name: zk
stack: zookeeper
`

// TestNoRegistry has Maven look for everything where nobody listens.
func TestNoRegistry(t *testing.T) {
	h := harness.NewEmpty(t)
	home := t.TempDir()
	write(t, filepath.Join(home, ".m2", "settings.xml"),
		"<settings><mirrors><mirror><id>closed</id><mirrorOf>*</mirrorOf><url>http://127.0.0.1:1/maven</url></mirror></mirrors></settings>", 0o644)
	// Java takes the home from the user's entry, whatever HOME says.
	h.Env = []string{"HOME=" + home, "MAVEN_OPTS=-Duser.home=" + home}
	h.Up()
	r := h.Fails(1, "apply", "--yes", "-f", h.Write("zk.yaml", zk))
	const why = "Maven cannot fetch org.apache.zookeeper:zookeeper:3.9.5 and 35 more: the registry cannot be reached"
	harness.Contains(t, "what apply says", r.Stderr, why, "check the network and the mirrors and proxies in the settings.xml of Maven", "howdah op retry 1", "howdah op abandon 1")
	if strings.Contains(r.Stderr, "\tat ") {
		t.Errorf("apply prints a stack trace:\n%s", r.Stderr)
	}
	harness.Contains(t, "explain", h.OK("explain", "zk"), "get the artifacts of zk failed: "+why)
	if c := h.Cluster("zk"); c.State != "failed" {
		t.Errorf("the cluster is %s, want failed", c.State)
	}
}

// TestWrongDigest has a lock that names another digest than its file has.
func TestWrongDigest(t *testing.T) {
	h := harness.New(t)
	dir := t.TempDir()
	const content = "#!/bin/sh\nexec sleep 1000\n"
	is, says := fmt.Sprintf("%x", sha256.Sum256([]byte(content))), strings.Repeat("0123456789abcdef", 4)
	write(t, filepath.Join(dir, "idle", "idle.sh"), content, 0o644)
	write(t, filepath.Join(dir, "idle", "idle.lock"), fmt.Sprintf("bin/idle.sh  file:idle.sh  %d  sha256:%s  NOASSERTION\n", len(content), says), 0o644)
	write(t, filepath.Join(dir, "idle", "stack.yaml"), `name: idle
summary: does nothing
version: "1"
java: {min: 17}
artifacts:
  idle: {lock: idle.lock}
roles:
  idle: {services: [idle], memoryMB: 32}
services:
  idle:
    command: [/bin/sh, "${artifact.idle}/bin/idle.sh"]
    ports: {never: 4444}
    ready: {tcp: "${self.ip}:${port.never}"}
default:
  nodeGroups:
    - {name: server, roles: [idle], instanceNum: 1}
`, 0o644)
	h.Up("--stacks", dir)
	r := h.Fails(1, "apply", "--yes", "-f", h.Write("idle.yaml", "name: idle\nstack: idle\n"))
	want := "cannot resolve set idle: file:idle.sh has digest sha256:" + is + " where the lock says sha256:" + says
	harness.Contains(t, "what apply says", r.Stderr, want)
	harness.Contains(t, "explain", h.OK("explain", "idle"), want)
	if n := h.Cluster("idle").Nodes; len(n) > 0 && len(n[0].Services) > 0 && n[0].Services[0].PID != 0 {
		t.Error("the program with another digest runs")
	}
	if _, err := os.Stat(filepath.Join(h.Dir, "cache", "blobs", is)); err == nil {
		t.Error("the file with another digest was kept")
	}
	forPrograms(t, h, want)
}

// forPrograms says that a program following an operation that fails gets events,
// one a line, and why as one object on standard error.
func forPrograms(t *testing.T, h *harness.Home, why string) {
	t.Helper()
	r := h.Fails(1, "apply", "--yes", "-o", "json", "-f", h.Write("idle.yaml", "name: idle\nstack: idle\n"))
	var types []string
	for line := range strings.Lines(r.Stdout) {
		var e api.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.ID == 0 {
			t.Errorf("no event: %q: %v", line, err)
		}
		types = append(types, e.Type)
	}
	for _, want := range []string{"operation.queued", "step.failed", "operation.failed"} {
		if !slices.Contains(types, want) {
			t.Errorf("no %s among %v", want, types)
		}
	}
	var failure struct {
		Code     int
		Findings []api.Finding
	}
	if err := json.Unmarshal([]byte(r.Stderr), &failure); err != nil || failure.Code != 1 {
		t.Errorf("standard error is %q: %v", r.Stderr, err)
	}
	if !slices.ContainsFunc(failure.Findings, func(f api.Finding) bool { return strings.Contains(f.Message, why) }) {
		t.Errorf("the findings do not say why: %+v", failure.Findings)
	}
}

// TestPortTaken listens where a node is going to: howdah says who does, and
// goes on by itself when the port is free.
func TestPortTaken(t *testing.T) {
	h := harness.New(t)
	h.Up()
	subnet, err := os.ReadFile(filepath.Join(h.Dir, "subnet"))
	if err != nil {
		t.Fatal(err)
	}
	address := netip.MustParsePrefix(strings.TrimSpace(string(subnet))).Addr()
	for range 10 {
		address = address.Next()
	}
	l, err := net.Listen("tcp", netip.AddrPortFrom(address, 2181).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	id := h.Begin("zk", zk)
	want := fmt.Sprintf("port %s (client) is taken by pid %d (", l.Addr(), os.Getpid())
	harness.Within(t, 30*time.Second, "the service says that its port is taken", func() (bool, string) {
		out := h.OK("explain", "zk")
		return strings.Contains(out, want), out
	})
	if s := h.Cluster("zk").Nodes[0].Services[0]; s.State != "failed" || s.PID != 0 {
		t.Errorf("the service is %s with pid %d", s.State, s.PID)
	}
	l.Close()
	h.Done(time.Minute, id)
	h.Ready(10*time.Second, "zk")
}
