package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"regexp"
	"strings"
	"sync"

	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/adapter/marathon"
	"howdah.dev/howdah/internal/image/imagestore"
	"howdah.dev/howdah/internal/image/pack"
	"howdah.dev/howdah/internal/number"
	"howdah.dev/howdah/internal/pipeline"
)

// cells gives a pipeline the cells of the running platform, and its registry.
type cells struct {
	a  *app
	c  *client.Client
	mu sync.Mutex
	at map[string]*cell // by name; each with a token of this command
}

func (p *cells) open(ctx context.Context, name string) (*cell, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.at[name]; c != nil {
		return c, nil
	}
	c, err := p.a.openCell(ctx, name)
	if err != nil {
		return nil, err
	}
	if p.at == nil {
		p.at = map[string]*cell{}
	}
	p.at[name] = c
	return c, nil
}

// infrastructureLocal makes nodes on this machine.
const infrastructureLocal = "local"

// Cell says what a cell can run.
func (p *cells) Cell(ctx context.Context, name string) (pipeline.Cell, error) {
	c, err := p.open(ctx, name)
	if err != nil {
		return pipeline.Cell{}, err
	}
	status, err := p.c.Cluster(ctx, name)
	if err != nil {
		return pipeline.Cell{}, err
	}
	workers, err := c.Workers(ctx, c.master)
	out := pipeline.Cell{Local: status.Infrastructure == infrastructureLocal, Why: "it has no worker"}
	for _, w := range workers {
		runtimes, _ := w.Attributes["runtimes"].(string)
		for r := range strings.SplitSeq(runtimes, ",") {
			out.Containers = out.Containers || w.Active && r != "" && r != "plain"
		}
		out.Why = "its workers run only plain commands; runc on them would change that"
	}
	return out, err
}

// PushImage packs an image and pushes it, unless the registry has it under its
// name already.
func (p *cells) PushImage(ctx context.Context, r pipeline.ImageRequest) (string, error) {
	repository, tag, err := imageName(r.Name)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "howdah-image-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	store, err := imagestore.Open(imagestore.Config{Dir: dir})
	if err != nil {
		return "", err
	}
	repo, err := store.Repo(repository)
	if err != nil {
		return "", err
	}
	cfg := pack.Config{Binary: r.Build.Binary}
	for _, l := range r.Build.Layers {
		cfg.Layers = append(cfg.Layers, pack.Layer{Dir: l.From, Target: l.To, Match: l.Match})
	}
	m, err := pack.Pack(ctx, repo, tag, cfg)
	if err != nil {
		return "", err
	}
	digest := m.Digest.String()
	if p.pushed(ctx, repository, tag) != digest {
		if err := p.a.pushImage(ctx, repo, tag); err != nil {
			return "", err
		}
	}
	return repository + "@" + digest, nil
}

// pushed returns the digest of what the registry has under a name, "" where it
// cannot be had: then a push shows why.
func (p *cells) pushed(ctx context.Context, repository, tag string) string {
	r := p.c.Registry()
	scheme := "https"
	if r.PlainHTTP {
		scheme = "http"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, scheme+"://"+r.Host+"/v2/"+repository+"/manifests/"+tag, http.NoBody)
	if err != nil {
		return ""
	}
	if r.Token != "" {
		req.Header.Set("Authorization", "Bearer "+r.Token)
	}
	resp, err := (&http.Client{Transport: r.Transport}).Do(req)
	if err != nil {
		return ""
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return ""
	}
	return resp.Header.Get("Docker-Content-Digest")
}

// RunApp makes or changes an app.
func (p *cells) RunApp(ctx context.Context, r pipeline.AppRequest) error {
	c, err := p.open(ctx, r.Cell)
	if err != nil {
		return err
	}
	_, err = c.Put(ctx, r.App, appOf(r), true)
	return err
}

var notOfVariable = regexp.MustCompile(`[^A-Z0-9]+`)

// appOf is the definition of an app in Marathon's form.
func appOf(r pipeline.AppRequest) map[string]any {
	name := notOfVariable.ReplaceAllString(strings.ToUpper(path.Base(r.Dataset)), "_")
	m := map[string]any{
		"id": r.App, "instances": r.Instances, "cpus": r.CPUs, "mem": r.MemMB, "env": r.Env,
		"labels": map[string]string{"HOWDAH_DATASET_" + name: r.Dataset},
		// Parts are claimed: fewer instances, or more, do no harm.
		"upgradeStrategy": map[string]any{"minimumHealthCapacity": 0, "maximumOverCapacity": 0},
		"backoffSeconds":  1, "backoffFactor": 1.5, "maxLaunchDelaySeconds": 15, "taskKillGracePeriodSeconds": 5,
	}
	check := map[string]any{"protocol": "MESOS_HTTP", "path": "/health", "portIndex": 0, "delaySeconds": 1, "gracePeriodSeconds": 60, "intervalSeconds": 5, "timeoutSeconds": 5, "maxConsecutiveFailures": 6}
	if r.Image != "" {
		port := map[string]any{"containerPort": 0, "hostPort": 0, "name": "health"}
		m["container"] = map[string]any{"type": "MESOS", "docker": map[string]any{"image": r.Image}, "portMappings": []any{port}}
		m["networks"] = []any{map[string]any{"mode": "container/bridge"}}
	} else {
		m["cmd"] = "exec '" + strings.ReplaceAll(r.Program, "'", `'\''`) + "'"
		m["portDefinitions"] = []any{map[string]any{"port": 0, "name": "health"}}
		check["protocol"] = "HTTP"
	}
	m["healthChecks"] = []any{check}
	return m
}

// ScaleApp tells an app how many instances to have.
func (p *cells) ScaleApp(ctx context.Context, cell, id string, instances int) error {
	c, err := p.open(ctx, cell)
	if err != nil {
		return err
	}
	_, err = c.Patch(ctx, id, map[string]int{"instances": instances}, true)
	if errors.Is(err, marathon.ErrNotFound) {
		return nil
	}
	return err
}

// AppStatus says how an app is doing.
func (p *cells) AppStatus(ctx context.Context, cell, id string) (pipeline.AppStatus, error) {
	c, err := p.open(ctx, cell)
	if err != nil {
		return pipeline.AppStatus{}, err
	}
	x, err := c.App(ctx, id)
	if errors.Is(err, marathon.ErrNotFound) {
		return pipeline.AppStatus{}, nil
	}
	if err != nil {
		return pipeline.AppStatus{}, err
	}
	st := pipeline.AppStatus{Instances: x.Instances, Running: x.TasksRunning, Tasks: len(x.Tasks)}
	if l := x.LastFailure; l != nil {
		st.FailedTask, st.Failure = l.TaskID, tame(l.State+" on "+l.Host+" "+l.Message)
	}
	if st.Running >= st.Instances {
		return st, nil
	}
	queue, err := c.Queue(ctx)
	for _, q := range queue {
		if q.App.ID == x.ID && len(q.Reasons) > 0 {
			st.Waiting = fmt.Sprintf("%s to place: %s", number.Count(q.Count, "instance"), tame(strings.Join(q.Reasons, "; ")))
		}
	}
	return st, err
}
