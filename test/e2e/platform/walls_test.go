package platform

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/internal/adapter/marathon"
	"howdah.dev/howdah/internal/adapter/webhdfs"
	"howdah.dev/howdah/internal/infra/local/sockets"
	"howdah.dev/howdah/test/e2e/harness"
)

const walledDatasets = `
warehouse: warehouse
datasets:
  - {name: own, path: /data/walls/own, owner: ads}
  - {name: given, path: /data/walls/given, owner: bi, access: [{project: ads}]}
  - {name: theirs, path: /data/walls/theirs, owner: bi}
`

const (
	walledApp = "/ads/walled"
	ownPort   = 15999 // one that nobody else has: what answers there is the app itself
	gateway   = 14000
)

// walled is an app of project ads with a way to the warehouse.
type walled struct {
	*harness.Home
	t          *testing.T
	url, token string // of the cell's API, of the project's operator
	hdfs       *webhdfs.Client
}

// walls: an app in a container reaches the warehouse and nothing else of the host, as
// its project and no other user, for as long as it runs.
func walls(t *testing.T, h *harness.Home) {
	w := walled{h, t, h.Cluster("cell").Exports["marathon"], h.Token("ads", "operator"), nil}
	w.hdfs = webhdfs.New(webhdfs.Config{Addresses: []string{h.Cluster("warehouse").Exports["web"]}, User: "bi"})
	h.OK("dataset", "apply", h.Write("walls.yaml", walledDatasets))
	for _, name := range []string{"/data/walls/given/a", "/data/walls/theirs/a"} {
		if err := w.hdfs.Create(t.Context(), name, strings.NewReader("of bi"), webhdfs.CreateOptions{Permission: 0o600}); err != nil {
			t.Fatal(err)
		}
	}
	content := filepath.Join(t.TempDir(), "content")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", content, "howdah.dev/howdah/internal/cell/shim/shimtest/content")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build: %v\n%s", err, text)
	}
	h.OK("image", "pack", content, "ads/content:1", "--entrypoint", "/content")
	body := fmt.Sprintf(`{"id": %q, "cpus": 0.05, "mem": 64, "instances": 1, "args": ["trap", "0", "listen", "%d", "wait"], "networks": [{"mode": "container/bridge"}],
		"container": {"type": "MESOS", "docker": {"image": "ads/content:1"}, "portMappings": [{"containerPort": %d, "hostPort": 0}]},
		"labels": {"HOWDAH_DATASET_CLICKS": "/data/walls/own", "HOWDAH_DATASET_GIVEN": "/data/walls/given:ro"}}`, walledApp, ownPort, ownPort)
	if code, text := harness.Ask(t, http.MethodPut, w.url+"/v2/apps"+walledApp, w.token, body); code != http.StatusCreated {
		t.Fatalf("making the app: %d\n%s", code, text)
	}
	var task marathon.Task
	harness.Within(t, 20*time.Second, "the app runs", func() (bool, string) {
		a := harness.JSON[marathon.App](h, "app", "describe", walledApp)
		if len(a.Tasks) == 1 {
			task = a.Tasks[0]
		}
		return a.TasksRunning == 1 && len(a.Deployments) == 0, fmt.Sprintf("%+v", a)
	})
	w.ownData()
	w.claims()
	w.elsewhere()
	w.ports()
	w.tokens(task)
	for _, name := range []string{"own", "given", "theirs"} {
		h.OK("dataset", "delete", name, "--yes")
	}
}

// inside runs the program of the tests in the container.
func (w walled) inside(words ...string) []string {
	w.t.Helper()
	return strings.Split(strings.TrimSuffix(w.OK(append([]string{"app", "exec", walledApp, "--", "/content"}, words...)...), "\n"), "\n")
}

// request is one to the warehouse from inside the container, and what answers it.
type request struct {
	method, path, body string
	code               int
	says               string
}

// requests sends requests from inside the container by a verb of the program there.
func (w walled) requests(verb string, all ...request) {
	w.t.Helper()
	var words []string
	for _, r := range all {
		words = append(words, verb, r.method, r.path, r.body)
	}
	answers := w.inside(words...)
	if len(answers) != len(all) {
		w.t.Fatalf("%d requests have %d answers:\n%s", len(all), len(answers), strings.Join(answers, "\n"))
	}
	for i, r := range all {
		if code, text, _ := strings.Cut(answers[i], " "); code != fmt.Sprint(r.code) || !strings.Contains(text, r.says) {
			w.t.Errorf("from inside, %s %s: %s\nwant %d %s", r.method, r.path, answers[i], r.code, r.says)
		}
	}
}

// of fails the test unless a file in the warehouse belongs to a user.
func (w walled) of(user string, files ...string) {
	w.t.Helper()
	for _, name := range files {
		if s, err := w.hdfs.Status(w.t.Context(), name); err != nil || s.Owner != user {
			w.t.Errorf("%s belongs to %q, %v; want %s", name, s.Owner, err, user)
		}
	}
}

// ownData: what the labels name is written and read, and belongs to the project.
func (w walled) ownData() {
	w.requests("warehouse",
		request{"PUT", "/data/walls/own/a?op=CREATE", "clicks of ads", 201, ""},
		request{"GET", "/data/walls/own/a?op=OPEN", "", 200, "clicks of ads"},
		request{"PUT", "/data/walls/own/day?op=MKDIRS", "", 200, "true"},
		request{"GET", "/?op=GETHOMEDIRECTORY", "", 200, `"/user/ads"`},
		request{"GET", "/data/walls/given/a?op=OPEN", "", 200, "of bi"},
		request{"PUT", "/data/walls/given/b?op=CREATE", "x", 403, "is read-only for project ads"},
		request{"POST", "/data/walls/given/a?op=APPEND", "x", 403, "is read-only for project ads"},
		request{"DELETE", "/data/walls/given/a?op=DELETE", "", 403, "is read-only for project ads"},
	)
	w.of("ads", "/data/walls/own", "/data/walls/own/a", "/data/walls/own/day")
	// The token is what opens the warehouse, and nothing that may be put in its place.
	w.requests("warehouse-tokenless",
		request{"GET", "/data/walls/own/a?op=OPEN", "", 401, "a token is needed"},
		request{"GET", "/data/walls/own/a?op=OPEN&user.name=ads", "", 401, "a token is needed"},
		request{"GET", "/data/walls/own/a?op=OPEN&delegation=x", "", 401, "the token is not known"},
	)
}

// claims: whoever a request says it is, it is done as the project or not at all.
func (w walled) claims() {
	var all []request
	var files []string
	for i, claim := range []string{"user.name=hdfs", "user.name=root", "user.name=bi", "doas=root", "delegation=x", "User.Name=root&DoAs=hdfs&delegation=x"} {
		name := fmt.Sprintf("/data/walls/own/claim-%d", i)
		files = append(files, name)
		all = append(all,
			request{"PUT", name + "?op=CREATE&" + claim, "x", 201, ""},
			request{"GET", "/?op=GETHOMEDIRECTORY&" + claim, "", 200, `"/user/ads"`},
			request{"GET", "/data/walls/theirs/a?op=OPEN&" + claim, "", 403, "is in no dataset of project ads"},
		)
	}
	w.requests("warehouse", append(all,
		request{"GET", "/data/walls/own/a?op=OPEN&user.name=hdfs&user.name=ads", "", 400, "more than once"},
		request{"PUT", "/data/walls/own/a?op=SETOWNER&owner=root", "", 400, "SETOWNER is not allowed"},
		request{"PUT", "/data/walls/own/a?op=SETPERMISSION&permission=777", "", 400, "SETPERMISSION is not allowed"},
		request{"GET", "/?op=GETDELEGATIONTOKEN&renewer=root", "", 400, "GETDELEGATIONTOKEN is not allowed"},
	)...)
	w.of("ads", files...)
}

// elsewhere: no path leads out of the app's datasets.
func (w walled) elsewhere() {
	var all []request
	for path, code := range map[string]int{
		"/data/walls/theirs/a":                        403,
		"/data/walls":                                 403,
		"/data/walls/owner":                           403, // not a name below own
		"/data/.howdah":                               403,
		"/data/.howdah/datasets/theirs.json":          403,
		"/user/root/x":                                403,
		"/.reserved/raw/data/walls/theirs/a":          400,
		"/data/walls/own/../theirs/a":                 400,
		"/data/walls/own/%2e%2e/theirs/a":             400,
		"/data/walls/own/%252e%252e/theirs/a":         400,
		"/data/walls/own/..%2ftheirs%2fa":             400,
		"/data/walls/own//../theirs/a":                400,
		"//data/walls/theirs/a":                       400,
		"/data/walls/own//a":                          400,
		"/data/walls/own/;/../../theirs/a":            400,
		"/data/walls/own/a%00":                        400,
		"/data/walls/%74heirs/a":                      403,
		"/data/walls/own%2f%2e%2e%2f%2e%2e%2f.howdah": 400,
	} {
		all = append(all, request{"GET", path + "?op=OPEN", "", code, ""}, request{"GET", path + "?op=LISTSTATUS", "", code, ""}, request{"PUT", path + "?op=CREATE", "x", code, ""})
	}
	for _, to := range []string{"/data/walls/theirs/b", "/data/walls/own/../theirs/b", "/data/.howdah/b"} {
		code := 403
		if strings.Contains(to, "..") {
			code = 400
		}
		all = append(all, request{"PUT", "/data/walls/own/a?op=RENAME&destination=" + to, "", code, ""})
	}
	w.requests("warehouse", append(all,
		request{"POST", "/data/walls/own/a?op=CONCAT&sources=/data/walls/theirs/a", "", 403, ""},
		request{"DELETE", "/data/walls/own?op=DELETE&recursive=true", "", 403, "would take away"},
		request{"GET", "/data/walls/own/a?op=OPEN", "", 200, "clicks of ads"}, // it is still there
	)...)
	w.of("bi", "/data/walls/theirs", "/data/walls/theirs/a", "/data/walls/given")
	for _, name := range []string{"/data/walls/theirs/b", "/data/.howdah/b", "/data/walls/owner"} {
		if _, err := w.hdfs.Status(w.t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			w.t.Errorf("%s was made: %v", name, err)
		}
	}
}

// ports: of all that listens on the host, the gateway alone answers inside.
func (w walled) ports() {
	all, err := sockets.Listeners()
	if err != nil {
		w.t.Fatal(err)
	}
	var addresses []string
	for _, l := range all {
		at := l.Addr
		if at.Addr().IsUnspecified() {
			at = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), at.Port())
		}
		if strings.HasPrefix(l.Proto, "tcp") && at.Port() != ownPort && at.Port() != gateway {
			addresses = append(addresses, at.String())
		}
	}
	slices.Sort(addresses)
	if addresses = slices.Compact(addresses); len(addresses) < 10 { // of NameNode, DataNodes and the cell at least
		w.t.Fatalf("only %d listeners were found on this host", len(addresses))
	}
	for some := range slices.Chunk(addresses, 500) {
		if got := w.inside("dial", strings.Join(some, ",")); len(got) != 1 || got[0] != fmt.Sprint("dialled ", len(some)) {
			w.t.Errorf("listeners of the host that answer inside: %v", got)
		}
	}
	if got, want := fmt.Sprint(w.inside("scan", "16000")), fmt.Sprintf("[open %d open %d scanned]", gateway, ownPort); got != want {
		w.t.Errorf("a scan of its own loopback finds %s, want %s", got, want)
	}
}

// tokens: the token of a task is the task's alone, and good while it lives.
func (w walled) tokens(task marathon.Task) {
	token := w.inside("cat", "/mnt/mesos/sandbox/.howdah-token")[0]
	worker := "http://" + task.Host + ":5051"
	open := worker + "/webhdfs/v1/data/walls/own/a?op=OPEN"
	if code, text := harness.Ask(w.t, http.MethodGet, open, token, ""); code != http.StatusOK || text != "clicks of ads" {
		w.t.Fatalf("the token of a task that runs: %d %s", code, text)
	}
	viewer := w.Token("ads", "viewer")
	if code, text := harness.Ask(w.t, http.MethodGet, open, viewer, ""); code != http.StatusUnauthorized {
		w.t.Errorf("a viewer's own token at the gateway: %d %s", code, text)
	}
	var info struct{ FrameworkID string }
	if code, text := harness.Ask(w.t, http.MethodGet, w.url+"/v2/info", viewer, ""); code != http.StatusOK || json.Unmarshal([]byte(text), &info) != nil {
		w.t.Fatalf("asking for the framework: %d %s", code, text)
	}
	sandbox := "/frameworks/" + info.FrameworkID + "/executors/" + task.ID + "/runs/latest"
	file := func(how, name string) (int, string) {
		return harness.Ask(w.t, http.MethodGet, worker+"/files/"+how+"?path="+url.QueryEscape(sandbox+name), viewer, "")
	}
	if code, text := file("download", "/stdout"); code != http.StatusOK || text != "listening\n" {
		w.t.Errorf("a viewer of the project reads stdout: %d %q", code, text)
	}
	if code, text := file("browse", ""); code != http.StatusOK || !strings.Contains(text, "stdout") || strings.Contains(text, ".howdah-token") {
		w.t.Errorf("a viewer of the project lists the sandbox: %d %s", code, text)
	}
	for _, how := range []string{"download", "read", "tail", "browse"} {
		for _, name := range []string{"/.howdah-token", "/./.howdah-token", "//.howdah-token", "/x/../.howdah-token"} {
			if code, text := file(how, name); code == http.StatusOK || strings.Contains(text, token) {
				w.t.Errorf("a viewer of the project gets the token of its task by %s of %s: %d %s", how, name, code, text)
			}
		}
	}
	if code, text := harness.Ask(w.t, http.MethodDelete, w.url+"/v2/apps"+walledApp, w.token, ""); code != http.StatusOK {
		w.t.Fatalf("deleting the app: %d\n%s", code, text)
	}
	harness.Within(w.t, 15*time.Second, "the token of a task that has ended opens nothing", func() (bool, string) {
		code, text := harness.Ask(w.t, http.MethodGet, open, token, "")
		return code == http.StatusUnauthorized, fmt.Sprint(code, text)
	})
}
