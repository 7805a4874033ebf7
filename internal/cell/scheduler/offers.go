package scheduler

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/cell/launch"
	"howdah.dev/howdah/internal/cell/match"
	"howdah.dev/howdah/internal/cell/mesos"
)

// AttributeRuntimes is the attribute in which workers of the embedded cell say
// what they can run containers with, best first, between commas.
const AttributeRuntimes = "runtimes"

// refuseIdle is for how long offers are refused that nobody needs; new demand
// revives them.
const (
	refuseIdle  = 120.0 // seconds
	refuseShort = 5.0   // of offers that do not suffice
)

// maxAccept bounds what is launched with one ACCEPT, in bytes: masters take calls
// of 4 MiB, and an offer whose ACCEPT is refused is lost to both sides.
const maxAccept = 3 << 20

// offers are what the master offers and what waits for it. They are the
// writer's own: what they hold is void after a crash anyway.
type offers struct {
	of         map[source]*held
	suppressed bool
	refused    bool // some were refused for long since the last REVIVE
}

// source is a worker that offers to a role. A master takes no ACCEPT of offers to
// several roles.
type source struct{ agent, role string }

func sourceOf(o *mesos.Offer) source {
	s := source{agent: o.AgentID.Value}
	if o.AllocationInfo != nil {
		s.role = o.AllocationInfo.Role
	}
	return s
}

func (s source) compare(o source) int {
	return cmp.Or(strings.Compare(s.agent, o.agent), strings.Compare(s.role, o.role))
}

// held is what one worker offers to one role, less what was taken of it.
type held struct {
	ids   []mesos.ID
	offer match.Offer
	tasks []mesos.TaskInfo
	size  int // of tasks, in bytes
}

// Waiting is an app that waits for offers, and what came of those so far.
type Waiting struct {
	Since      time.Time
	Processed  int // offers looked at
	Unused     int // of them refused
	LastUsed   time.Time
	LastUnused time.Time
	Last       match.Refusals // of the newest offers
	Attempt    []match.Reject // of all offers since the app began to wait
	Held       []match.Offer  // those offers, newest only
}

func newOffers() *offers { return &offers{of: map[source]*held{}} }

// reset forgets the offers of a connection that ended.
func (o *offers) reset() {
	clear(o.of)
	o.suppressed, o.refused = false, false
}

func (o *offers) add(list []mesos.Offer) {
	for _, m := range list {
		from := sourceOf(&m)
		h := o.of[from]
		if h == nil {
			o.of[from] = &held{ids: []mesos.ID{m.ID}, offer: match.Offer{Offer: m, Runtimes: runtimes(m)}}
			continue
		}
		h.ids = append(h.ids, m.ID)
		h.offer.Resources = mesos.Resources(h.offer.Resources).Add(m.Resources)
	}
}

// sources returns where offers are from, in a fixed order.
func (o *offers) sources() []source { return slices.SortedFunc(maps.Keys(o.of), source.compare) }

// remove takes back an offer. What else the worker offered to the role goes with
// it: the parts cannot be told apart any more.
func (o *offers) remove(id string) {
	for from, h := range o.of {
		if slices.ContainsFunc(h.ids, func(i mesos.ID) bool { return i.Value == id }) {
			delete(o.of, from)
		}
	}
}

func runtimes(m mesos.Offer) []string {
	for _, a := range m.Attributes {
		if a.Name == AttributeRuntimes && a.Text != nil {
			return strings.Split(a.Text.Value, ",")
		}
	}
	return nil
}

// match launches what is wanted on what is offered. The intent to launch is
// part of the commit; the master hears of it afterwards.
func (t *tx) match(ctx context.Context) {
	ready, waiting, fresh := t.demand()
	short := false
	for _, id := range ready {
		short = t.launch(ctx, id) || short
	}
	t.answerOffers(short)
	t.tune(waiting, short, short && fresh)
	t.settle()
}

// demand returns the apps that may launch now, those that wait longest first,
// whether there are any that want to, and whether one of them is new.
func (t *tx) demand() (ready []string, waiting, fresh bool) {
	for id, count := range t.demanding() {
		a := t.apps.get(id)
		if a == nil || count <= 0 {
			if t.waiting.get(id) != nil {
				t.waiting.remove(id)
			}
			continue
		}
		waiting = true
		if t.waiting.get(id) == nil {
			t.waiting.put(id, &Waiting{Since: t.now})
			fresh = true
		}
		if until := a.Backoff.Until; until.After(t.now) {
			t.at(until)
			continue
		}
		ready = append(ready, id)
	}
	slices.SortFunc(ready, func(a, b string) int {
		return cmp.Or(t.waiting.get(a).Since.Compare(t.waiting.get(b).Since), strings.Compare(a, b))
	})
	return ready, waiting, fresh
}

// demanding returns how many launches apps want: those that wait, and those
// whose plan this batch changed.
func (t *tx) demanding() map[string]int {
	out := map[string]int{}
	for id := range t.waiting.all() {
		out[id] = 0
	}
	for id := range t.decisions.changed {
		out[id] = 0
	}
	for id := range out {
		if d := t.decisions.get(id); d != nil {
			out[id] = d.Launch
		}
	}
	return out
}

// launch matches one app and tells whether some of its launches still wait.
func (t *tx) launch(ctx context.Context, id string) (short bool) {
	a := t.apps.get(id)
	offered := t.offered()
	if len(offered) == 0 {
		return true
	}
	spec, want, wait := t.specFor(a), t.decisions.get(id).Launch, clone(t.waiting.get(id))
	launches, refusals := match.Find(t.request(spec, want), offered)
	wait.Processed += len(offered)
	wait.Last, wait.Held = refusals, offered
	wait.Attempt = addUp(wait.Attempt, refusals.Summary())
	if len(launches) == 0 {
		wait.Unused, wait.LastUnused = wait.Unused+len(offered), t.now
	} else {
		wait.LastUsed = t.now
	}
	t.waiting.put(id, wait)
	started := 0
	for _, l := range launches {
		ok, err := t.start(ctx, spec, l)
		if err != nil {
			t.refuse(spec.ID, err)
			return true
		}
		if ok {
			started++
		}
	}
	return started < want
}

// addUp adds summaries line by line; they have the same lines.
func addUp(a, b []match.Reject) []match.Reject {
	for n := range a {
		b[n].Declined, b[n].Processed = b[n].Declined+a[n].Declined, b[n].Processed+a[n].Processed
	}
	return b
}

// specFor returns what is launched for an app now: while a deployment has not
// come to it, what it was before.
func (t *tx) specFor(a *App) *app.App {
	if was, by := t.held(a.Spec.ID); by != nil && was.Version != "" {
		if spec := t.versionOf(a.Spec.ID, was.Version); spec != nil {
			return spec
		}
	}
	return a.Spec
}

// ownSpec returns an app as it was when an instance was launched; nil if that is
// not kept any more.
func (t *tx) ownSpec(i *instance.Instance) *app.App {
	if a := t.apps.get(i.App); a != nil && a.Spec.ConfigVersion().Equal(i.Version) {
		return a.Spec
	}
	return t.versionOf(i.App, app.Timestamp{Time: i.Version}.String())
}

// versionOf returns an earlier version of an app, also one that only this batch
// knows; nil if it is not kept.
func (t *tx) versionOf(id, version string) *app.App {
	for _, p := range t.history {
		if spec, ok := p.doc.(*app.App); ok && p.id == id && p.version.String() == version {
			return spec
		}
	}
	spec, err := t.lookup(id, version)
	if err != nil {
		return nil // the next batch asks again
	}
	return spec
}

// offered returns what is left of the offers, in a fixed order.
func (t *tx) offered() []match.Offer {
	out := make([]match.Offer, 0, len(t.offers.of))
	for _, from := range t.offers.sources() {
		o := t.offers.of[from].offer
		o.Leaving = t.drained[from.agent]
		out = append(out, o)
	}
	return out
}

func (t *tx) request(spec *app.App, count int) match.Request {
	req := match.For(spec, spec.ConfigVersion().Time, t.of(spec.ID))
	seed := fnv.New64a()
	_, _ = seed.Write([]byte(spec.ID + t.now.String()))
	req.Count, req.MaxPerOffer, req.Seed = count, t.cfg.MaxPerOffer, seed.Sum64()
	return req
}

// start commits the intent to launch one instance and prepares the launch. It
// returns false where the worker takes no more in this round.
func (t *tx) start(ctx context.Context, spec *app.App, l match.Launch) (bool, error) {
	i := &instance.Instance{
		ID: instance.NewID(spec.ID), App: spec.ID, Role: l.Role, Incarnation: 1, Version: spec.ConfigVersion().Time, Condition: instance.Provisioned,
		State: mesos.TaskStaging, Since: t.now, StagedAt: t.now, AgentID: l.AgentID, Host: l.Host, Address: l.Address, Region: l.Region, Zone: l.Zone,
		Attributes: l.Attributes, Ports: l.Ports, Checked: len(spec.HealthChecks) > 0, Ready: len(spec.ReadinessChecks) == 0,
	}
	for _, p := range spec.Ports() {
		i.ServicePorts = append(i.ServicePorts, p.Service)
	}
	task, err := launch.Task(ctx, spec, i, l, launch.Options{Secret: t.cfg.Secret})
	if err != nil {
		return false, err
	}
	text, err := json.Marshal(task)
	if err != nil {
		return false, err
	}
	h, size := t.offers.of[source{l.AgentID, l.Role}], len(text)
	switch {
	case size > maxAccept:
		return false, fmt.Errorf("its task has %d bytes, at most %d may be: put what is large, secrets too, into files to fetch or into the image", size, maxAccept)
	case h.size+size > maxAccept:
		return false, nil
	}
	h.size += size
	h.offer.Resources = mesos.Resources(h.offer.Resources).Subtract(l.Resources)
	h.tasks = append(h.tasks, task)
	t.putInstance(i)
	t.emitCondition(i)
	return true, nil
}

// refuse notes that an app cannot be launched as it is: a secret is missing, say.
func (t *tx) refuse(id string, err error) {
	a := t.apps.get(id)
	if a == nil {
		return
	}
	next := clone(a)
	next.LastFailure = &Failure{AppID: id, Message: err.Error(), State: string(mesos.TaskError), Timestamp: app.At(t.now), Version: a.Spec.Version}
	next.Backoff = t.delay(a, &instance.Instance{})
	t.putApp(next)
}

// answerOffers accepts what was used and gives the rest back.
func (t *tx) answerOffers(short bool) {
	var unused []mesos.ID
	for _, from := range t.offers.sources() {
		h := t.offers.of[from]
		delete(t.offers.of, from)
		if len(h.tasks) > 0 {
			soon := 0.0 // what is left is wanted at once, if anything is
			t.call(&mesos.Call{Type: mesos.CallAccept, Accept: &mesos.Accept{
				OfferIDs: h.ids, Filters: &mesos.Filters{RefuseSeconds: &soon},
				Operations: []mesos.Operation{{Type: mesos.OperationLaunch, Launch: &mesos.Launch{TaskInfos: h.tasks}}},
			}})
			continue
		}
		unused = append(unused, h.ids...)
	}
	if len(unused) == 0 {
		return
	}
	refuse := refuseIdle
	if short {
		refuse = refuseShort
	} else {
		t.offers.refused = true
	}
	t.call(&mesos.Call{Type: mesos.CallDecline, Decline: &mesos.Decline{OfferIDs: unused, Filters: &mesos.Filters{RefuseSeconds: &refuse}}})
}

// tune asks for offers when something waits, and for none when nothing does.
// What was refused is asked for again when it may be of use now: an app is new,
// room was made, or a delay is over in which offers were not needed.
func (t *tx) tune(waiting, short, fresh bool) {
	switch {
	case t.base.framework == "" && t.meta[metaFramework] == "":
	case waiting && (t.offers.suppressed || fresh || short && (t.freed || t.offers.refused)):
		t.offers.suppressed, t.offers.refused = false, false
		t.call(&mesos.Call{Type: mesos.CallRevive, Revive: &mesos.Roles{}})
	case !waiting && !t.offers.suppressed:
		t.offers.suppressed = true
		t.call(&mesos.Call{Type: mesos.CallSuppress, Suppress: &mesos.Roles{}})
	}
}
