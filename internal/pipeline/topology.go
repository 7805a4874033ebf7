package pipeline

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"
)

// killWait is how long an earlier topology may take to go.
const killWait = 90 * time.Second

// topology runs a topology until it has counted every line of its feed.
func (r *run) topology(ctx context.Context, s Step, p *progress) error {
	t := s.Topology
	inputs, err := fileInputs(s.Name, t.local()...)
	if err != nil {
		return err
	}
	p.input(inputs...)
	feed := r.Definition.feedOf(s)
	wanted := r.fed.get(feed.Name)
	p.update(func(f *Figures) { f.LinesTotal = sum(wanted) })
	req, err := r.topologyRequest(t, path.Join(feed.Feed.Path, r.id), path.Join(t.Output, r.id))
	if err != nil {
		return err
	}
	if err := r.endTopology(ctx, t, p); err != nil {
		return err
	}
	if err := r.clearRuns(ctx, t.Output); err != nil {
		return err
	}
	if err := r.Files.MakeFolder(ctx, path.Join(t.Output, r.id)); err != nil {
		return fmt.Errorf("cannot make the folder of the output: %w", err)
	}
	p.say("submitting " + t.Name + " to " + t.Cluster)
	id, err := r.Topologies.SubmitTopology(ctx, req)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("cannot submit topology %s to %s: %w", t.Name, t.Cluster, err)
	}
	if err == nil {
		p.identify(id)
		p.say("topology " + id + " on " + t.Cluster)
		err = r.awaitTotals(ctx, t, wanted, p)
	}
	if err == nil && t.Keep {
		return nil
	}
	return errors.Join(err, r.killTopology(ctx, t))
}

// feedOf returns the feed that a topology counts; Parse saw that there is one.
func (d *Definition) feedOf(s Step) Step {
	for _, name := range s.After {
		if other, ok := d.step(name); ok && other.Feed != nil {
			return other
		}
	}
	return Step{}
}

func (r *run) topologyRequest(t *Topology, feed, output string) (TopologyRequest, error) {
	req := TopologyRequest{
		Cluster: t.Cluster, Name: t.Name, Flux: t.Flux, Resources: t.Resources, Files: t.Files,
		Properties: make(map[string]string, len(t.Properties)),
	}
	known := values(map[string]string{varFeed: feed, varOutput: output, varWarehouse: r.Warehouse})
	for key, value := range t.Properties {
		text, err := expand(string(value), known)
		if err != nil {
			return req, fmt.Errorf("property %s: %w", key, err)
		}
		req.Properties[key] = text
	}
	return req, nil
}

// endTopology kills a topology of the name that is still there, and waits until
// the name is free. Its workers may live for seconds more; that is why every
// run has folders of its own.
func (r *run) endTopology(ctx context.Context, t *Topology, p *progress) error {
	deadline := time.Now().Add(killWait)
	var quiet patience
	killed := false
	for {
		status, err := r.Topologies.TopologyStatus(ctx, t.Cluster, t.Name)
		if err := quiet.with(err); err != nil {
			return fmt.Errorf("cannot ask for topology %s: %w", t.Name, err)
		}
		switch {
		case err != nil:
		case status.State == TopologyAbsent:
			return nil
		case status.State != TopologyKilled && !killed:
			p.say("killing topology " + t.Name + " of an earlier run")
			if err := r.Topologies.KillTopology(ctx, t.Cluster, t.Name, 0); err != nil {
				return fmt.Errorf("cannot kill topology %s of an earlier run: %w", t.Name, err)
			}
			killed = true
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("topology %s of an earlier run is still %s after %s", t.Name, status.State, killWait)
		}
		if err := r.sleep(ctx); err != nil {
			return err
		}
	}
}

// killTopology ends the topology of this run.
func (r *run) killTopology(ctx context.Context, t *Topology) error {
	last, cancel := detached(ctx)
	defer cancel()
	status, err := r.Topologies.TopologyStatus(last, t.Cluster, t.Name)
	if err == nil && (status.State == TopologyAbsent || status.State == TopologyKilled) {
		return nil
	}
	if err := r.Topologies.KillTopology(last, t.Cluster, t.Name, 0); err != nil {
		return fmt.Errorf("cannot kill topology %s: %w", t.Name, err)
	}
	return nil
}

// awaitTotals waits until the output says that every line was counted.
func (r *run) awaitTotals(ctx context.Context, t *Topology, wanted map[string]int64, p *progress) error {
	deadline := time.Now().Add(t.Deadline)
	var alive, readable patience
	for {
		have, err := readTotals(ctx, r.Files, path.Join(t.Output, r.id))
		if errors.Is(err, errTotals) {
			return err
		}
		if err := readable.with(err); err != nil {
			return fmt.Errorf("cannot read totals: %w", err)
		}
		if err == nil {
			p.update(func(f *Figures) { f.Lines, f.Packages = counted(wanted, have) })
			if done, err := enough(wanted, have); done {
				return err
			}
		}
		status, err := r.Topologies.TopologyStatus(ctx, t.Cluster, t.Name)
		if err == nil && (status.State == TopologyAbsent || status.State == TopologyKilled) {
			return fmt.Errorf("topology %s was killed before it had counted every line: %s", t.Name, shortfall(wanted, have))
		}
		if err := alive.with(err); err != nil {
			return fmt.Errorf("cannot ask for topology %s: %w", t.Name, err)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("topology %s did not count every line in %s: %s%s%s", t.Name, t.Deadline,
				shortfall(wanted, have), after("; waiting: ", status.Waiting), after("; error: ", firstLine(status.Error)))
		}
		if err := r.sleep(ctx); err != nil {
			return err
		}
	}
}
