package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/session"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/tenant"
)

// errFenced ends the stream of an agent that a newer one replaced.
var errFenced = errors.New("a newer agent runs this node")

// errMoved ends a stream whose agent has opened another, with a new certificate.
var errMoved = errors.New("the agent has another stream")

// ErrDenied is returned for a request without the right to it.
var ErrDenied = errors.New("not allowed")

// Join gives a node its certificate for a one-time token.
func (m *Manager) Join(ctx context.Context, r agentapi.JoinRequest) (agentapi.JoinResponse, error) {
	var out agentapi.JoinResponse
	if err := agentapi.CheckAgent(r.Protocol); err != nil {
		return out, err
	}
	err := m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		ok, err := tx.TakeToken(tenant.Hash(r.Token), r.Node)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("%w: the join token is used, too old, or of another node", ErrDenied)
		}
		n, err := tx.Node(r.Node)
		if err != nil {
			return err
		}
		der, err := m.cfg.Authority.Node(n.ID, r.CSR)
		if err != nil {
			return err
		}
		out = agentapi.JoinResponse{Certificate: der, CA: m.cfg.Authority.Bundle()}
		return tx.Event(api.Event{Type: "node.joined", Cluster: clusterName(tx, n.Cluster), Node: n.Name, Message: n.Name + " joined"})
	})
	return out, err
}

func clusterName(tx *store.Tx, id string) string {
	c, err := tx.ClusterByID(id)
	if err != nil {
		return ""
	}
	return c.Name
}

// Watch serves one agent's stream: the newest agent fences older ones, then
// every change of the assignment is sent whole.
func (m *Manager) Watch(ctx context.Context, r *agentapi.WatchRequest, send func(*agentapi.WatchEvent) error) error {
	if err := m.understood(r); err != nil {
		return err
	}
	w := &watcher{send: send, trust: trusted{peer: peerOf(ctx)}}
	if err := apart(func() (err error) { w.node, err = m.admit(ctx, r); return err }); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	me := m.connect(&w.node, cancel)
	defer m.disconnect(w.node.ID, me)
	sub := m.cfg.Store.Subscribe(store.WishTopic(w.node.ID), store.MembersTopic(w.node.Cluster))
	defer sub.Close()
	news := &agentapi.WatchEvent{Incarnation: w.node.Incarnation, Protocol: agentapi.Protocol}
	for {
		changed := m.cfg.Authority.Changed()
		_, restricted := m.restrictions()
		if err := apart(func() error { return m.tell(ctx, w, news) }); err != nil {
			return err
		}
		news = nil
		select {
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), errFenced) {
				return send(&agentapi.WatchEvent{Fenced: true})
			}
			return context.Cause(ctx)
		case <-changed:
		case <-restricted:
		case <-sub.C:
		case r := <-me.asks:
			news = &agentapi.WatchEvent{Session: r}
		}
	}
}

// watcher is an agent's stream: what it is of, and what it has been told.
type watcher struct {
	node  store.Node
	send  func(*agentapi.WatchEvent) error
	trust trusted
	sent  string // the version of the assignment
}

// tell sends an agent the news, where there are any, and what else it does not know yet.
func (m *Manager) tell(ctx context.Context, w *watcher, news *agentapi.WatchEvent) error {
	if news != nil {
		if err := w.send(news); err != nil {
			return err
		}
	}
	if trust := w.trust.news(m.cfg.Authority); trust != nil {
		if err := w.send(&agentapi.WatchEvent{Trust: trust}); err != nil {
			return err
		}
	}
	as, err := m.Assignment(ctx, w.node.ID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return err
	case err == nil && as.Intent == agentapi.IntentGone:
		return errRemoved // as whoever comes anew is told: nothing waits for what it would do
	case err == nil && version(as) != w.sent:
		w.sent = version(as)
		return w.send(&agentapi.WatchEvent{Assignment: as})
	case err != nil && ctx.Err() == nil && !errors.Is(err, errNoHost):
		m.cfg.Log.Error("cannot render assignment", "node", w.node.Name, "error", err)
	}
	return nil
}

// apart runs fn on a goroutine of its own, whose stack is given back: a stream waits for
// days after a moment in which it rendered, and there are thousands of them. A panic of fn
// is the caller's: it ends a stream and not the server.
func apart(fn func() error) error {
	var panicked any
	err, done := errors.New("it was cut short"), make(chan struct{})
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		err = fn()
	}()
	<-done
	if panicked != nil {
		panic(panicked)
	}
	return err
}

// version tells assignments apart that an agent has to be sent.
func version(as *agentapi.Assignment) string {
	var b strings.Builder
	fmt.Fprint(&b, as.Generation)
	for _, t := range as.Tasks {
		fmt.Fprint(&b, " ", t.ID, t.Cancel)
	}
	for _, s := range as.Services {
		for _, secret := range s.Secrets {
			if secret.Kind == kindRestrictions { // no generation tells of it: nothing is restarted
				fmt.Fprint(&b, " ", digestOf([]byte(secret.Content)))
			}
		}
	}
	return b.String()
}

// admit records which agent process runs a node, what the node is, and which
// Java it uses: a choice once made is kept while that Java is there, so that
// installing another restarts nothing.
func (m *Manager) admit(ctx context.Context, r *agentapi.WatchRequest) (store.Node, error) {
	var n store.Node
	admit := func(tx *store.Tx) (err error) {
		if n, err = tx.Node(r.Node); err != nil {
			return err
		}
		if !m.hasRead(n.Cluster, n.Revision) {
			return errUnread
		}
		_, s, err := m.revision(tx, n.Cluster, n.Revision)
		if err != nil {
			return err
		}
		if n.Instance != r.Instance {
			n.Instance = r.Instance
			n.Incarnation++
		}
		n.Facts = &r.Facts
		n.Java = chooseJava(n.Java, r.Facts.Javas, s.Java)
		return tx.PutNode(n)
	}
	err := m.cfg.Store.Update(ctx, admit)
	for errors.Is(err, errUnread) { // others wait for the writer: it does not read whole revisions
		err = m.cfg.Store.View(ctx, func(tx *store.Tx) error {
			_, _, err := m.revision(tx, n.Cluster, n.Revision)
			return err
		})
		if err == nil {
			err = m.cfg.Store.Update(ctx, admit)
		}
	}
	return n, err
}

// chooseJava keeps the present choice while it is installed and fits, else
// takes the first that fits; agents list what they prefer first.
func chooseJava(now *agentapi.Java, have []agentapi.Java, want stack.JavaRange) *agentapi.Java {
	fits := func(j agentapi.Java) bool { return j.Major >= want.Min && (want.Max == 0 || j.Major <= want.Max) }
	for i := range have {
		if now != nil && have[i].Home == now.Home && fits(have[i]) {
			return &have[i]
		}
	}
	for i := range have {
		if fits(have[i]) {
			return &have[i]
		}
	}
	if want.Min == 0 { // the stack needs none
		return &agentapi.Java{}
	}
	return nil
}

func (m *Manager) connect(n *store.Node, cancel context.CancelCauseFunc) *agentStream {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.sessions[n.ID]; old != nil {
		why := errFenced
		if old.incarnation == n.Incarnation {
			why = errMoved
		}
		old.fence(why)
	}
	me := &agentStream{
		incarnation: n.Incarnation, fence: cancel, asks: make(chan *agentapi.SessionRequest, session.Defaults.PerNode), gone: make(chan struct{}),
	}
	m.sessions[n.ID] = me
	m.pulse.Add(1)
	return me
}

func (m *Manager) disconnect(node string, me *agentStream) {
	close(me.gone)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sessions[node] == me {
		if v := m.vitals[node]; v != nil {
			v.last = summary{}
		}
		delete(m.sessions, node)
		m.pulse.Add(1)
	}
}

// Report takes what an agent observes. Reports of fenced agents are refused.
func (m *Manager) Report(ctx context.Context, r agentapi.Report) (agentapi.ReportResponse, error) {
	now, err := summarize(r)
	if err != nil {
		return agentapi.ReportResponse{}, err
	}
	known, same := m.compare(r, now)
	if !known {
		fenced := false
		if same, fenced, err = m.unchanged(ctx, r, now); err != nil || fenced {
			return agentapi.ReportResponse{Fenced: fenced}, err
		}
	}
	first := m.hear(r)
	if same && !first {
		m.stored(r.Node, now)
		return agentapi.ReportResponse{}, nil
	}
	err = m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		n, err := tx.Node(r.Node)
		if err != nil {
			return err
		}
		before, err := tx.Observed(n.ID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		newer, err := tx.PutObserved(n.Cluster, withoutProbes(r))
		if err != nil || !newer {
			return err
		}
		c, err := tx.ClusterByID(n.Cluster)
		if err != nil {
			return err
		}
		if err := observeDone(tx, c, n, r.Done); err != nil {
			return err
		}
		if err := observeTasks(tx, r.Tasks); err != nil {
			return err
		}
		if err := conditionEvents(tx, c.Name, n.Name, before.Report.Conditions, r.Conditions); err != nil {
			return err
		}
		return serviceEvents(tx, c.Name, n.Name, before.Report.Services, r.Services)
	})
	if err == nil {
		m.stored(r.Node, now)
	}
	return agentapi.ReportResponse{}, err
}

// observeDone records cluster-wide one-time tasks whose evidence an agent has.
func observeDone(tx *store.Tx, c store.Cluster, n store.Node, done []string) error {
	if len(done) == 0 {
		return nil
	}
	known, err := tx.Onces(c.ID)
	if err != nil {
		return err
	}
	for _, task := range done {
		i := slices.IndexFunc(known, func(o store.Once) bool { return o.Task == task })
		if i >= 0 && known[i].State == store.OnceDone {
			continue
		}
		if err := tx.PutOnce(c.ID, store.Once{Task: task, Node: n.ID, State: store.OnceDone}); err != nil {
			return err
		}
		if err := tx.Event(api.Event{Type: "once.done", Cluster: c.Name, Node: n.Name, Message: task + " done on " + n.Name}); err != nil {
			return err
		}
	}
	return nil
}

// observeTasks records where tasks stand; a final state stays.
func observeTasks(tx *store.Tx, tasks []agentapi.TaskStatus) error {
	for _, st := range tasks {
		k, err := tx.Task(st.ID)
		if errors.Is(err, store.ErrNotFound) || err == nil && (k.State == agentapi.TaskDone || k.State == agentapi.TaskFailed) {
			continue
		}
		if err != nil {
			return err
		}
		k.State, k.Status = st.State, st
		if err := tx.PutTask(k); err != nil {
			return err
		}
	}
	return nil
}

// serviceEvents writes an event for each service that changed its state.
func serviceEvents(tx *store.Tx, cluster, node string, before, after []api.ServiceStatus) error {
	old := map[string]api.ServiceStatus{}
	for _, s := range before {
		old[s.Name] = s
	}
	for _, s := range after {
		if old[s.Name].State == s.State {
			continue
		}
		msg := fmt.Sprintf("%s on %s is %s", s.Name, node, s.State)
		if s.Message != "" {
			msg += ": " + s.Message
		}
		if err := tx.Event(api.Event{Type: "service." + s.State, Cluster: cluster, Node: node, Service: s.Name, Message: msg}); err != nil {
			return err
		}
	}
	return nil
}

// Permit lets one node of a cluster run a cluster-wide one-time task.
func (m *Manager) Permit(ctx context.Context, r agentapi.PermitRequest) (agentapi.PermitResponse, error) {
	var out agentapi.PermitResponse
	err := m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		n, err := tx.Node(r.Node)
		if err != nil {
			return err
		}
		known, err := tx.Onces(n.Cluster)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(known, func(o store.Once) bool { return o.Task == r.Task })
		switch {
		case i < 0:
			out.Permit = agentapi.PermitRun
			if err := tx.PutOnce(n.Cluster, store.Once{Task: r.Task, Node: n.ID, State: store.OnceRunning}); err != nil {
				return err
			}
			return tx.Event(api.Event{Type: "once.permitted", Cluster: clusterName(tx, n.Cluster), Node: n.Name, Message: n.Name + " may run " + r.Task})
		case known[i].State == store.OnceDone:
			out.Permit = agentapi.PermitDone
		case known[i].Node == n.ID:
			out.Permit = agentapi.PermitRun
		default:
			out.Permit, out.Holder = agentapi.PermitWait, known[i].Node
			if h, err := tx.Node(known[i].Node); err == nil {
				out.Holder = h.Name
			}
		}
		return nil
	})
	return out, err
}

// Blob opens a blob for an agent.
func (m *Manager) Blob(sum string) (io.ReadSeekCloser, error) { return m.cfg.Cache.Open(sum) }
