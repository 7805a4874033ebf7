// Package launch owns how an instance of an app is written as a Mesos task. It is
// pure but for the secrets, which it asks a given function for. It must not know
// the scheduler's state, nor how workers run tasks.
package launch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/cell/match"
	"howdah.dev/howdah/internal/cell/mesos"
)

// DefaultBridge is the name Marathon gives the bridge network of MESOS containers.
const DefaultBridge = "mesos-bridge"

// Options are what tasks depend on beside app, instance and match.
type Options struct {
	// Secret returns what is kept at a secret's source. Nil: there are no secrets.
	Secret func(ctx context.Context, source string) ([]byte, error)
	// EnvPrefix goes before HOST and PORT* in the environment.
	EnvPrefix string
	// Bridge is the network of MESOS containers in mode container/bridge;
	// DefaultBridge if "".
	Bridge string
}

// Task writes an instance of a normalised app as a task for the worker that was
// matched. It fails only for secrets that cannot be had, and names all of them.
func Task(ctx context.Context, a *app.App, i *instance.Instance, l match.Launch, o Options) (mesos.TaskInfo, error) {
	if o.Bridge == "" {
		o.Bridge = DefaultBridge
	}
	b := &builder{a: a, id: i.TaskID(), host: i.Reach(), launch: l, options: o, inside: app.ContainerPorts(a, i.TaskID(), l.Ports)}
	b.readSecrets(ctx)
	if len(b.errs) > 0 {
		return mesos.TaskInfo{}, errors.Join(b.errs...)
	}
	return mesos.TaskInfo{
		Name:        Name(a.ID),
		TaskID:      mesos.ID{Value: b.id},
		AgentID:     mesos.ID{Value: l.AgentID},
		Resources:   l.Resources,
		Limits:      limits(a),
		Command:     b.command(),
		Container:   b.container(),
		HealthCheck: b.healthCheck(),
		Check:       b.check(),
		KillPolicy:  killPolicy(a),
		Labels:      labels(app.WithLabel(a.Labels, app.IDLabel, a.ID)), // workers go by the id
		Discovery:   b.discovery(),
	}, nil
}

// Name is an app's name for discovery: /a/b is b.a.
func Name(id string) string {
	parts := strings.Split(strings.Trim(id, "/"), "/")
	slices.Reverse(parts)
	return strings.Join(parts, ".")
}

// builder is one task on its way.
type builder struct {
	a       *app.App
	id      string // of the task
	host    string
	launch  match.Launch
	options Options
	inside  []int             // ports as the container sees them, as a.Ports
	secrets map[string][]byte // by source
	errs    []error
}

// readSecrets reads each secret that the app uses once.
func (b *builder) readSecrets(ctx context.Context) {
	used := map[string]bool{}
	for _, v := range b.a.Env {
		used[v.Secret] = true
	}
	if c := b.a.Container; c != nil {
		for _, v := range c.Volumes {
			used[v.Secret] = true
		}
		if c.Docker != nil && c.Docker.PullConfig != nil {
			used[c.Docker.PullConfig.Secret] = true
		}
	}
	delete(used, "")
	b.secrets = map[string][]byte{}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		value, err := b.readSecret(ctx, name)
		if err != nil {
			b.errs = append(b.errs, fmt.Errorf("cannot read secret %q of %s: %w", name, b.a.ID, err))
		}
		b.secrets[name] = value
	}
}

func (b *builder) readSecret(ctx context.Context, name string) ([]byte, error) {
	def, ok := b.a.Secrets[name]
	switch {
	case !ok:
		return nil, errors.New("the app does not define it")
	case b.options.Secret == nil:
		return nil, errors.New("this cell keeps no secrets")
	default:
		return b.options.Secret(ctx, def.Source)
	}
}

func (b *builder) secret(name string) *mesos.Secret {
	return &mesos.Secret{Type: "VALUE", Value: &mesos.SecretValue{Data: b.secrets[name]}}
}

func limits(a *app.App) map[string]mesos.Limit {
	if a.ResourceLimits == nil {
		return nil
	}
	out := map[string]mesos.Limit{}
	for name, l := range map[string]*app.ResourceLimit{"cpus": a.ResourceLimits.CPUs, "mem": a.ResourceLimits.Mem} {
		switch {
		case l == nil:
		case l.Unlimited:
			out[name] = mesos.Limit{Value: math.Inf(1)}
		default:
			out[name] = mesos.Limit{Value: l.Value}
		}
	}
	return out
}

func killPolicy(a *app.App) *mesos.KillPolicy {
	if a.TaskKillGracePeriodSeconds == nil {
		return nil
	}
	grace := time.Duration(*a.TaskKillGracePeriodSeconds) * time.Second
	return &mesos.KillPolicy{GracePeriod: &mesos.Duration{Nanoseconds: grace.Nanoseconds()}}
}

// labels are written in the order of their names: the same app is the same task.
func labels(m map[string]string) *mesos.Labels {
	if len(m) == 0 {
		return nil
	}
	out := &mesos.Labels{}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		out.Labels = append(out.Labels, mesos.Label{Key: key, Value: m[key]})
	}
	return out
}
