package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"
	"time"

	"howdah.dev/howdah/bench/report"
)

const (
	failed    = "TASK_FAILED"
	unhealthy = "unhealthy_instance_kill_event"

	watchTime   = 10 * time.Second
	askEvery    = 20 * time.Millisecond
	askLimit    = 5 * time.Second
	outstanding = 64 // requests at once; one more is a failure
)

// bad is an app that takes too much, and what must happen to it for the figure to
// mean anything.
type bad struct {
	app  appSpec
	what string
}

func badApps() []bad {
	loop := func(id string, fields appSpec) appSpec {
		app := contained("/bad/"+id, appSpec{"cpus": 0.1, "mem": 64, "backoffSeconds": 1, "backoffFactor": 1})
		maps.Copy(app, fields)
		return app
	}
	return []bad{
		{loop("crash", appSpec{"args": []string{"exit", "3"}}), failed},
		{loop("sick", appSpec{
			"args":         []string{"listen", "8080", "wait"},
			"container":    published(),
			"healthChecks": []appSpec{{"protocol": "HTTP", "path": "/status/500", "portIndex": 0, "delaySeconds": 0, "intervalSeconds": 1, "gracePeriodSeconds": 1, "maxConsecutiveFailures": 2}},
		}), unhealthy},
		{loop("log", appSpec{"args": []string{"log"}}), running},
		{loop("hog", appSpec{"args": []string{"hog"}}), failed},
		{loop("bomb", appSpec{"args": []string{"forkbomb"}, "mem": 512}), running}, // ends at the most processes, not by memory
	}
}

// published is a container that answers on a port of the host.
func published() appSpec {
	return appSpec{
		"type": "MESOS", "docker": appSpec{"image": imageName},
		"portMappings": []appSpec{{"containerPort": 8080, "hostPort": 0}},
	}
}

// neighbours measures a small server in peace, and beside apps that take too much.
func (b *bench) neighbours(ctx context.Context, c *cell, h *heard) error {
	calm := contained("/calm", appSpec{"cpus": 0.5, "mem": 64, "args": []string{"listen", "8080", "wait"}, "container": published()})
	if _, err := c.api.call(ctx, http.MethodPost, "/v2/apps", calm, nil); err != nil {
		return err
	}
	if err := c.until(ctx, h, calm.id(), running, 1); err != nil {
		return err
	}
	url, err := c.reach(ctx, calm.id())
	if err != nil {
		return err
	}
	peace, err := b.ask(ctx, url)
	if err != nil {
		return fmt.Errorf("in peace: %w", err)
	}
	ids := []string{calm.id()}
	for _, x := range badApps() {
		ids = append(ids, x.app.id())
		if _, err := c.api.call(ctx, http.MethodPost, "/v2/apps", x.app, nil); err != nil {
			return err
		}
	}
	for _, id := range ids[1:] {
		if err := c.until(ctx, h, id, starting, 1); err != nil {
			return err
		}
	}
	beside, err := b.ask(ctx, url)
	if err != nil {
		return fmt.Errorf("beside apps that take too much: %w", err)
	}
	for _, x := range badApps() {
		if err := c.until(ctx, h, x.app.id(), x.what, 1); err != nil {
			return err
		}
	}
	if h.count(calm.id(), failed) > 0 {
		return errors.New("the neighbour has failed")
	}
	b.atMost(0, "a neighbour's latency in peace, p50, ms", report.Quantile(peace, 0.5))
	b.atMost(0, "  in peace, p99, ms", report.Quantile(peace, 0.99))
	b.atMost(0, "  beside crash loop, never healthy, log, hog, fork bomb, p50, ms", report.Quantile(beside, 0.5))
	b.atMost(0, "  beside them, p99, ms", report.Quantile(beside, 0.99))
	b.atMost(2, "  ratio of the p50", report.Quantile(beside, 0.5)/report.Quantile(peace, 0.5))
	b.atMost(2, "  ratio of the p99", report.Quantile(beside, 0.99)/report.Quantile(peace, 0.99))
	for _, x := range badApps() {
		b.Note("%s: %s %d times", x.app.id(), x.what, h.count(x.app.id(), x.what))
	}
	return c.drop(ctx, ids...)
}

// reach is where an app's only task answers.
func (c *cell) reach(ctx context.Context, id string) (string, error) {
	var body struct {
		App struct {
			Tasks []struct {
				Host  string
				Ports []int
			}
		}
	}
	if _, err := c.api.call(ctx, http.MethodGet, "/v2/apps"+id, nil, &body); err != nil {
		return "", err
	}
	if tasks := body.App.Tasks; len(tasks) == 1 && len(tasks[0].Ports) == 1 {
		url := fmt.Sprintf("http://%s:%d/", tasks[0].Host, tasks[0].Ports[0])
		return url, c.api.wait(ctx, startLimit, id+" answers", func(ctx context.Context) (bool, error) { return get(ctx, url) == nil, nil })
	}
	return "", fmt.Errorf("%s has not one task with one port: %+v", id, body.App.Tasks)
}

// ask sends 50 requests a second, whether the last was answered or not, and returns
// how many milliseconds each took. A request that fails is the end.
func (b *bench) ask(ctx context.Context, url string) ([]float64, error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var took []float64
	var errs error
	places := make(chan struct{}, outstanding)
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for range b.of(int(watchTime / askEvery)) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			wg.Wait()
			return nil, context.Cause(ctx)
		}
		select {
		case places <- struct{}{}:
		default:
			wg.Wait()
			return nil, fmt.Errorf("%d requests wait for an answer", outstanding)
		}
		wg.Go(func() {
			defer func() { <-places }()
			begun := time.Now()
			err := get(ctx, url)
			mu.Lock()
			defer mu.Unlock()
			took, errs = append(took, report.Millis(time.Since(begun))), errors.Join(errs, err)
		})
	}
	wg.Wait()
	return took, errs
}

// get reads a page.
func get(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}
