package marathon

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/cell/scheduler"
	"howdah.dev/howdah/internal/cell/serviceapi"
	"howdah.dev/howdah/internal/tenant"
)

// gather is how long changes are gathered before those who wait are told.
const gather = 20 * time.Millisecond

// serviceTable keeps what the table of services is made of: the services of each
// app until it changes, and the whole table of the default project.
type serviceTable struct {
	mu    sync.Mutex // taken before the scheduler's state is looked at
	apps  map[string]appServices
	whole servicesText
}

type appServices struct {
	revision uint64
	services []serviceapi.Service
}

// servicesText is a table as it is sent, as of a revision of the state.
type servicesText struct {
	at       uint64
	revision string // of the table
	json     []byte
}

// services answers with the table of services once it differs from the one the
// client knows, or after a while.
func (a *API) services(_ http.ResponseWriter, c *call) (any, error) {
	after := c.URL.Query().Get("after")
	end := time.NewTimer(serviceapi.MaxWait)
	defer end.Stop()
	for {
		text, changed, err := a.table(c.who)
		if err != nil || text.revision != after {
			return raw(text.json), err
		}
		select {
		case <-changed:
		case <-end.C:
			return raw(text.json), nil
		case <-a.closing:
			return raw(text.json), nil
		case <-c.Context().Done():
			return nil, nil
		}
		select { // more may have changed along with it
		case <-time.After(gather):
		case <-c.Context().Done():
			return nil, nil
		}
	}
}

// table returns the services a caller may see, and what is closed when they may
// have changed.
func (a *API) table(who tenant.Token) (text servicesText, changed <-chan struct{}, err error) {
	s := &a.serviceTable
	s.mu.Lock()
	defer s.mu.Unlock()
	all := who.Project == tenant.DefaultProject
	table := serviceapi.Table{Services: []serviceapi.Service{}}
	a.engine.View(func(v scheduler.View) {
		changed = v.Changed()
		if text.at = v.Revision(); all && s.whole.json != nil && s.whole.at == text.at {
			text = s.whole
			return
		}
		for _, of := range s.collect(v) {
			if owns(who, of.App) {
				table.Services = append(table.Services, of)
			}
		}
	})
	if text.json != nil {
		return text, changed, nil
	}
	body, err := encode(table.Services)
	if err != nil {
		return text, changed, err
	}
	sum := sha256.Sum256(body)
	text.revision = hex.EncodeToString(sum[:12])
	table.Revision = text.revision
	if text.json, err = encode(table); err == nil && all {
		s.whole = text
	}
	return text, changed, err
}

// collect returns the services of all apps.
func (s *serviceTable) collect(v scheduler.View) []serviceapi.Service {
	var out []serviceapi.Service
	kept := make(map[string]appServices, len(s.apps))
	for at := range v.Apps() {
		of, known := s.apps[at.Spec.ID]
		if revision := v.AppRevision(at.Spec.ID); !known || of.revision != revision {
			of = appServices{revision, servicesOf(at.Spec, v.Instances(at.Spec.ID))}
		}
		kept[at.Spec.ID] = of
		out = append(out, of.services...)
	}
	s.apps = kept
	return out
}

// servicesOf lists the service ports of an app. A port for both protocols is two
// services. Instances that are to end are left out, so that nobody new is sent to
// them while they do.
func servicesOf(spec *app.App, instances []*instance.Instance) []serviceapi.Service {
	var out []serviceapi.Service
	for _, p := range spec.Ports() {
		if p.Service == 0 {
			continue
		}
		backends := []serviceapi.Backend{}
		for _, i := range instances {
			if at := behind(i, p.Service); at > 0 && i.KillAsked == nil && i.Condition == instance.Running {
				backends = append(backends, serviceapi.Backend{Host: i.Reach(), Port: at, Task: i.TaskID(), Healthy: serves(i)})
			}
		}
		labels := shownLabels(spec.Labels, p.Labels)
		for protocol := range strings.SplitSeq(p.Protocol, ",") {
			out = append(out, serviceapi.Service{Port: p.Service, App: spec.ID, Protocol: protocol, Name: p.Name, Labels: labels, Backends: backends})
		}
	}
	return out
}

// behind returns the instance's port for a service port, 0 for none. The instance
// may be of a version with other ports than are wanted now.
func behind(i *instance.Instance, service int) int {
	n := slices.Index(i.ServicePorts, service)
	if n < 0 || n >= len(i.Ports) {
		return 0
	}
	return i.Ports[n]
}

// serves tells whether an instance may be sent requests, by the checks of its own
// version.
func serves(i *instance.Instance) bool {
	if i.Healthy != nil {
		return i.Ready && *i.Healthy
	}
	return i.Ready && !i.Checked
}

// shownLabels are those that load balancers of Marathon go by.
func shownLabels(ofApp, ofPort map[string]string) map[string]string {
	shown := func(prefix string) func(string, string) bool {
		return func(key, _ string) bool { return !strings.HasPrefix(key, prefix) }
	}
	a, p := maps.Clone(ofApp), maps.Clone(ofPort)
	maps.DeleteFunc(a, shown("HAPROXY_"))
	maps.DeleteFunc(p, shown("VIP_"))
	if len(a)+len(p) == 0 {
		return nil
	}
	out := make(map[string]string, len(a)+len(p))
	maps.Copy(out, a)
	maps.Copy(out, p)
	return out
}
