package keeper

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/shim/shimtest"
)

// engine stands for a Docker engine with one container, which is a plain process. The
// real one is tested by package docker.
type engine struct {
	t       *testing.T
	program string
	argv    []string
	env     []string

	refuse   string // instead of a start
	oom      bool
	mu       sync.Mutex
	attached net.Conn
	main     *process
	exec     *process
	asked    []string // to be executed
	askedEnv []string
	removed  bool
}

// process is one that the engine started.
type process struct {
	*exec.Cmd
	ended chan struct{}
}

// newEngine returns a task that the engine runs.
func newEngine(t *testing.T, program, line string) (*engine, *task) {
	t.Helper()
	k := newTask(t, program, "", line)
	command := k.spec.Config.Command
	e := &engine{t: t, program: program, argv: command.Argv, env: command.Env}
	socket := filepath.Join(t.TempDir(), "e.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /containers/c/attach", e.attach)
	mux.HandleFunc("POST /containers/c/start", e.start)
	mux.HandleFunc("GET /containers/c/json", e.inspect)
	mux.HandleFunc("POST /containers/c/wait", e.wait)
	mux.HandleFunc("DELETE /containers/c", e.remove)
	mux.HandleFunc("POST /containers/c/exec", e.makeExec)
	mux.HandleFunc("POST /exec/x/start", e.startExec)
	mux.HandleFunc("GET /exec/x/json", e.inspectExec)
	server := &http.Server{Handler: mux}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	k.spec.Config.Command = nil
	k.spec.Config.Engine = &shim.Engine{Socket: socket, ID: "c"}
	return e, k
}

func hijack(w http.ResponseWriter) net.Conn {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return nil
	}
	fmt.Fprint(conn, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
	return conn
}

// frame writes what a process prints as the engine does.
type frame struct {
	to   net.Conn
	kind byte
}

func (f frame) Write(p []byte) (int, error) {
	head := make([]byte, 8)
	head[0] = f.kind
	binary.BigEndian.PutUint32(head[4:], uint32(len(p)))
	_, err := f.to.Write(append(head, p...))
	return len(p), err
}

func (e *engine) attach(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock() // held until the answer is noted
	defer e.mu.Unlock()
	e.attached = hijack(w)
}

// run starts a process with its files at a connection.
func (e *engine) run(conn net.Conn, env []string, argv ...string) *process {
	p := &process{exec.Command(argv[0], argv[1:]...), make(chan struct{})}
	p.Env, p.WaitDelay = env, time.Second
	lock := &sync.Mutex{}
	p.Stdout, p.Stderr = locked{lock, frame{conn, 1}}, locked{lock, frame{conn, 2}}
	stdin, err := p.StdinPipe()
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		e.t.Error(err)
		return p
	}
	go func() {
		_, _ = io.Copy(stdin, conn)
		stdin.Close()
	}()
	go func() {
		_ = p.Wait()
		close(p.ended)
		conn.Close()
	}()
	return p
}

type locked struct {
	mu *sync.Mutex
	to io.Writer
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(p)
}

func (e *engine) start(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refuse != "" {
		w.WriteHeader(http.StatusInternalServerError)
		_ = json.NewEncoder(w).Encode(map[string]string{"message": e.refuse})
		e.attached.Close()
		return
	}
	e.main = e.run(e.attached, e.env, shim.Gate(e.program, e.argv)...)
	w.WriteHeader(http.StatusNoContent)
}

func (e *engine) first() *process {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.main
}

// code is an exit status as the engine tells it.
func (p *process) code() int {
	if s, ok := p.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return 128 + int(s.Signal())
	}
	return p.ProcessState.ExitCode()
}

func (e *engine) inspect(w http.ResponseWriter, _ *http.Request) {
	state := map[string]any{"Running": true, "Pid": e.first().Process.Pid, "OOMKilled": e.oom}
	_ = json.NewEncoder(w).Encode(map[string]any{"State": state})
}

func (e *engine) wait(w http.ResponseWriter, _ *http.Request) {
	_ = http.NewResponseController(w).Flush()
	p := e.first()
	<-p.ended
	_ = json.NewEncoder(w).Encode(map[string]int{"StatusCode": p.code()})
}

func (e *engine) remove(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.removed {
		http.Error(w, `{"message":"No such container: c"}`, http.StatusNotFound)
		return
	}
	e.removed = true
	if e.main != nil {
		_ = e.main.Process.Kill()
	}
	w.WriteHeader(http.StatusNoContent)
}

func (e *engine) makeExec(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Cmd, Env []string }
	_ = json.NewDecoder(r.Body).Decode(&asked)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked, e.askedEnv = asked.Cmd, append(append([]string{}, e.env...), asked.Env...)
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]string{"Id": "x"})
}

func (e *engine) startExec(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.exec = e.run(hijack(w), e.askedEnv, e.asked...)
}

func (e *engine) inspectExec(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.exec.ended:
		_ = json.NewEncoder(w).Encode(map[string]any{"ExitCode": e.exec.code()})
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"Running": true, "Pid": e.exec.Process.Pid})
	}
}

func (e *engine) isRemoved() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.removed
}

func TestEngine(t *testing.T) {
	program := shimtest.Build(t)
	tests := []struct {
		name, line string
		change     func(*engine)
		kill       bool
		want       shim.Exit
	}{
		{name: "output and exit code", line: "echo out; echo err >&2; exit 42", want: shim.Exit{ExitCode: 42}},
		{name: "killed for memory", line: "kill -KILL $$", change: func(e *engine) { e.oom = true }, want: shim.Exit{Signal: 9, OOMKilled: true}},
		{name: "ends in order", line: "trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done", kill: true, want: shim.Exit{ExitCode: 7, Killed: true}},
		{name: "no program", change: func(e *engine) { e.argv = []string{"nothing"} }, want: shim.Exit{Error: "cannot start nothing: no such program in PATH (/usr/bin:/bin)"}},
		{name: "no program at all", change: func(e *engine) { e.argv = []string{"/no/thing"} }, want: shim.Exit{Error: "cannot start /no/thing: no such file or directory"}},
		{name: "refused", change: func(e *engine) { e.refuse = "no space left" }, want: shim.Exit{Error: "cannot start the container: no space left"}},
		{name: "another machine's", change: func(e *engine) { e.env = e.env[len(e.env)-1:] }, want: shim.Exit{Error: "cannot find the container's process: the Docker engine runs it on another machine"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, k := newEngine(t, program, tt.line)
			if tt.change != nil {
				tt.change(e)
			}
			s := k.start()
			if tt.kill {
				until(t, "the task runs", func() bool { return k.output("stdout") == "up\n" })
				if err := s.Kill(time.Minute); err != nil {
					t.Fatal(err)
				}
			}
			got := wait(t, s)
			if got.ExitCode != tt.want.ExitCode || got.Signal != tt.want.Signal || got.Killed != tt.want.Killed || got.OOMKilled != tt.want.OOMKilled || got.Error != tt.want.Error {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if !e.isRemoved() {
				t.Error("the container is left")
			}
			if tt.name == "output and exit code" && (k.output("stdout") != "out\n" || k.output("stderr") != "err\n") {
				t.Errorf("output %q, %q", k.output("stdout"), k.output("stderr"))
			}
		})
	}
}

// TestEngineFindAgain is a worker that comes back: to a container that runs, with a
// command in it, and to one whose shim was killed.
func TestEngineFindAgain(t *testing.T) {
	e, k := newEngine(t, shimtest.Build(t), "echo up; sleep 1000")
	k.start().Release()
	s, err := Find(t.Context(), k.spec.Dir, node)
	if err != nil {
		t.Fatal(err)
	}
	started, ok := s.Started()
	if !ok || started.PID != e.first().Process.Pid {
		t.Errorf("found %+v, it is pid %d", started, e.first().Process.Pid)
	}
	code, out, err := s.Client().Run(t.Context(), shim.ExecRequest{Argv: []string{"sh", "-c", "echo $A; exit 3"}, Env: []string{"A=b"}}, 100)
	if err != nil || code != 3 || string(out) != "b\n" {
		t.Errorf("exec: %d %q %v", code, out, err)
	}
	if err := syscall.Kill(s.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if exit := wait(t, s); !strings.HasPrefix(exit.Error, "its shim was killed") || !e.isRemoved() {
		t.Errorf("exit %+v, removed %v", exit, e.isRemoved())
	}
	until(t, "the container has ended", func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/%d", started.PID))
		return err != nil
	})
}
