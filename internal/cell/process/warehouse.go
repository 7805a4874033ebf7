package process

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/worker"
	"howdah.dev/howdah/internal/tenant"
	"howdah.dev/howdah/internal/warehouse/gateway"
)

const (
	// gatewayPort is where a container finds the warehouse on its own loopback.
	gatewayPort = 14000
	gatewayPath = "/webhdfs/v1/"
	// tokenFile is the name of a task's token in its sandbox.
	tokenFile = ".howdah-token"
)

// WarehouseConfig says which warehouse tasks reach.
type WarehouseConfig struct {
	Web  string `json:"web"`  // address of the NameNode's pages; "" for no warehouse
	FS   string `json:"fs"`   // hdfs://host:port
	User string `json:"user"` // HDFS user of the default project; the worker's own where absent. Others are users of their names
}

// user is the HDFS user of the default project.
func (c WarehouseConfig) user() string {
	if c.User != "" {
		return c.User
	}
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}

// house is the gateway of one worker.
type house struct {
	cfg      WarehouseConfig
	key      []byte
	address  string // of the worker
	socket   string
	handler  http.Handler
	server   *http.Server // on the socket; nil without a warehouse
	declared *datasets
	// holds tells whether the worker has a task that has not ended.
	holds func(ctx context.Context, framework, task string) bool
}

func (c WarehouseConfig) open(dir, address, secret string, log *slog.Logger) (*house, error) {
	sum := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(sum, "gateway of %s", address)
	h := &house{cfg: c, key: sum.Sum(nil), address: address, socket: filepath.Join(dir, "gateway.sock")}
	if c.Web == "" {
		h.handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "this cell is linked to no warehouse: links: {hdfs: NAME} in its definition links it", http.StatusNotFound)
		})
		return h, nil
	}
	h.cfg.User = c.user()
	g, err := gateway.New(gateway.Config{
		NameNodes: func() []string { return []string{strings.TrimRight(c.Web, "/")} },
		Authorize: h.authorize, Log: log,
		Audit: func(r gateway.Record) {
			log.Info("warehouse", "project", r.Project, "user", r.User, "op", r.Op, "path", r.Path, "status", r.Status, "bytes", r.Bytes)
		},
	})
	if err != nil {
		return nil, err
	}
	h.handler, h.server, h.declared = g, g.Server(), c.datasets(log)
	return h, nil
}

// serve serves the gateway to containers, whose shims reach it by a socket.
func (h *house) serve(ctx context.Context, log *slog.Logger) error {
	if h.server == nil {
		<-ctx.Done()
		return nil
	}
	if err := os.Remove(h.socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot open the warehouse gateway: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", h.socket)
	if err != nil {
		return fmt.Errorf("cannot open the warehouse gateway: %w", err)
	}
	if err := os.Chmod(h.socket, 0o600); err != nil {
		return errors.Join(err, l.Close())
	}
	stop := context.AfterFunc(ctx, func() { _ = h.server.Close() })
	defer stop()
	log.Info("the warehouse gateway is open", "namenode", h.cfg.Web)
	if err := h.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// gateways are opened inside every container's network.
func (h *house) gateways() []shim.Gateway {
	if h.server == nil {
		return nil
	}
	return []shim.Gateway{{Port: gatewayPort, Network: "unix", Address: h.socket}}
}

// claim is what a task's token says. It is signed with a key of this worker
// alone, so that nothing need be kept of it, and is good until the task ends.
type claim struct {
	Framework string            `json:"framework"`
	Task      string            `json:"task"`
	Project   string            `json:"project"`
	User      string            `json:"user"`
	Owners    map[string]string `json:"owners,omitempty"` // HDFS users of datasets of other projects
	Datasets  map[string]string `json:"datasets"`         // name to path, with ":ro" behind those that are only read
}

// extras gives a task the way to the warehouse and the datasets its labels name.
func (h *house) extras(framework mesos.ID, info *mesos.TaskInfo) (worker.Extras, error) {
	var x worker.Extras
	if h.server == nil || info.Labels == nil {
		return x, nil
	}
	project := projectOf(info)
	c := claim{Framework: framework.Value, Task: info.TaskID.Value, Project: project, User: h.user(project), Datasets: map[string]string{}, Owners: map[string]string{}}
	x.Env = map[string]string{}
	for _, l := range info.Labels.Labels {
		if name, ok := strings.CutPrefix(l.Key, app.DatasetLabel); ok {
			c.Datasets[name] = l.Value
			x.Env[l.Key] = strings.TrimSuffix(l.Value, ":ro")
			if owner := h.declared.owner(x.Env[l.Key]); owner != "" && owner != project {
				c.Owners[name] = h.user(owner)
			}
		}
	}
	if len(c.Datasets) == 0 {
		return worker.Extras{}, nil
	}
	token, err := h.sign(c)
	if err != nil {
		return x, err
	}
	x.Files = map[string][]byte{tokenFile: []byte(token)}
	x.Env["HOWDAH_TOKEN_FILE"] = worker.InSandbox + "/" + tokenFile
	x.Env["WEBHDFS_URL"] = "http://" + h.address + strings.TrimSuffix(gatewayPath, "/")
	if ownNetwork(info) {
		x.Env["WEBHDFS_URL"] = fmt.Sprintf("http://127.0.0.1:%d%s", gatewayPort, strings.TrimSuffix(gatewayPath, "/"))
	}
	return x, nil
}

// user is the HDFS user that a project is.
func (h *house) user(project string) string {
	if project == tenant.DefaultProject {
		return h.cfg.User
	}
	return project
}

// ownNetwork tells whether a task has a network of its own.
func ownNetwork(info *mesos.TaskInfo) bool {
	c := info.Container
	if c == nil {
		return false
	}
	return len(c.NetworkInfos) > 0 || c.Docker != nil && c.Docker.Network != "" && c.Docker.Network != mesos.NetworkHost
}

func (h *house) sign(c claim) (string, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("cannot make the task's token: %w", err)
	}
	enc := base64.RawURLEncoding
	return enc.EncodeToString(body) + "." + enc.EncodeToString(h.mac(body)), nil
}

func (h *house) mac(body []byte) []byte {
	m := hmac.New(sha256.New, h.key)
	m.Write(body)
	return m.Sum(nil)
}

// authorize reads a task's token.
func (h *house) authorize(ctx context.Context, token string) (gateway.Grant, bool) {
	text, sig, _ := strings.Cut(token, ".")
	// One token has one text, by which its requests are counted.
	enc := base64.RawURLEncoding.Strict()
	if strings.ContainsAny(token, "\r\n") { // which even strict decoders leave out
		return gateway.Grant{}, false
	}
	body, err := enc.DecodeString(text)
	mac, err2 := enc.DecodeString(sig)
	if err != nil || err2 != nil || !hmac.Equal(mac, h.mac(body)) {
		return gateway.Grant{}, false
	}
	var c claim
	if json.Unmarshal(body, &c) != nil || !h.holds(ctx, c.Framework, c.Task) {
		return gateway.Grant{}, false
	}
	g := gateway.Grant{Project: c.Project, User: c.User}
	for name, path := range c.Datasets {
		access := gateway.ReadWrite
		path, readOnly := strings.CutSuffix(path, ":ro")
		if readOnly {
			access = gateway.ReadOnly
		}
		g.Datasets = append(g.Datasets, gateway.Dataset{Name: name, Path: path, Access: access, User: c.Owners[name]})
	}
	return g, true
}
