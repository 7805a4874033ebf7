package master

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strings"

	"howdah.dev/howdah/internal/cell/mesos"
)

const streamHeader = "Mesos-Stream-Id"

// wireCall is a call with its tasks not yet decoded: what is wrong with a task is
// told of that task alone.
type wireCall struct {
	mesos.Call
	Accept *wireAccept `json:"accept"`
}

type wireAccept struct {
	OfferIDs   []mesos.ID      `json:"offer_ids"`
	Operations []wireOperation `json:"operations"`
	Filters    *mesos.Filters  `json:"filters"`
}

type wireOperation struct {
	Type   string `json:"type"`
	Launch *struct {
		TaskInfos []json.RawMessage `json:"task_infos"`
	} `json:"launch"`
}

// scheduler is POST /api/v1/scheduler.
func (m *Master) scheduler(w http.ResponseWriter, r *http.Request) error {
	var call wireCall
	if err := decode(w, r, maxBody, "Call", &call); err != nil {
		return err
	}
	if err := validateCall(&call); err != nil {
		return err
	}
	principal := principalOf(r)
	if call.Type == mesos.CallSubscribe {
		return m.schedulerSubscribe(w, r, principal, call.Subscribe)
	}
	accepted, err := decodeAccept(call.Accept)
	if err != nil {
		return err
	}
	streamID := r.Header.Get(streamHeader)
	if streamID == "" {
		return refuse(http.StatusBadRequest, "All non-subscribe calls should include the '%s' header", streamHeader)
	}
	var refused error
	if err := m.do(r.Context(), func(c *core) {
		var f *framework
		if f, refused = c.caller(call.FrameworkID.Value, streamID, principal); refused == nil {
			c.call(f, &call, accepted)
		}
	}); err != nil {
		return err
	}
	if refused == nil {
		w.WriteHeader(http.StatusAccepted)
	}
	return refused
}

// supported are the calls besides SUBSCRIBE, each with what must be present.
func validateCall(call *wireCall) error {
	invalid := func(format string, args ...any) error {
		return refuse(http.StatusBadRequest, "Failed to validate scheduler::Call: "+format, args...)
	}
	expect := func(present bool, name string) error {
		if present {
			return nil
		}
		return invalid("Expecting '%s' to be present", name)
	}
	if call.Type == "" {
		return expect(false, "type")
	}
	if call.Type != mesos.CallSubscribe && (call.FrameworkID == nil || call.FrameworkID.Value == "") {
		return expect(false, "framework_id")
	}
	switch call.Type {
	case mesos.CallSubscribe:
		return validateSubscribe(call, invalid)
	case mesos.CallTeardown, mesos.CallRevive, mesos.CallSuppress, mesos.CallRequest:
		return nil
	case mesos.CallAccept:
		return expect(call.Accept != nil, "accept")
	case mesos.CallDecline:
		return expect(call.Decline != nil, "decline")
	case mesos.CallKill:
		if call.Kill != nil && call.Kill.KillPolicy != nil && call.Kill.KillPolicy.GracePeriod != nil && call.Kill.KillPolicy.GracePeriod.Nanoseconds < 0 {
			return invalid("'kill.kill_policy.grace_period' must be non-negative")
		}
		return expect(call.Kill != nil && call.Kill.TaskID.Value != "", "kill")
	case mesos.CallAcknowledge:
		if call.Acknowledge != nil && len(call.Acknowledge.UUID) != 16 {
			return invalid("Not a valid UUID")
		}
		return expect(call.Acknowledge != nil, "acknowledge")
	case mesos.CallReconcile:
		return expect(call.Reconcile != nil, "reconcile")
	case mesos.CallShutdown, mesos.CallMessage:
		return refuse(http.StatusBadRequest, "%s is not supported: there are no custom executors", call.Type)
	default:
		return refuse(http.StatusBadRequest, "Call type '%.64s' is not supported", call.Type)
	}
}

func validateSubscribe(call *wireCall, invalid func(string, ...any) error) error {
	if call.Subscribe == nil {
		return invalid("Expecting 'subscribe' to be present")
	}
	outer, inner := "", ""
	if call.FrameworkID != nil {
		outer = call.FrameworkID.Value
	}
	if id := call.Subscribe.FrameworkInfo.ID; id != nil {
		if inner = id.Value; inner == "" {
			call.Subscribe.FrameworkInfo.ID = nil
		}
	}
	if outer != inner {
		return invalid("'framework_id' differs from 'subscribe.framework_info.id'")
	}
	return nil
}

// schedulerSubscribe answers with the stream of events.
func (m *Master) schedulerSubscribe(w http.ResponseWriter, r *http.Request, principal string, sub *mesos.Subscribe) error {
	if r.Header.Get(streamHeader) != "" {
		return refuse(http.StatusBadRequest, "Subscribe calls should not include the '%s' header", streamHeader)
	}
	if !acceptsJSON(r.Header.Values("Accept")) {
		return refuse(http.StatusNotAcceptable, "Expecting 'Accept' to allow application/json")
	}
	info := &sub.FrameworkInfo
	if info.Principal == "" {
		info.Principal = principal
	}
	if info.Principal != principal {
		return wrongPrincipal(principal, info.Principal)
	}
	var out *outbox
	var streamID string
	err := m.do(r.Context(), func(c *core) { out, streamID = c.subscribe(sub) })
	if err == nil {
		w.Header().Set(streamHeader, streamID)
		m.stream(w, r, out)
	}
	// Also after an error: the client may have gone while the engine subscribed it.
	ended := m.do(context.WithoutCancel(r.Context()), func(c *core) { c.streamEnded(out) })
	if err == nil && !errors.Is(ended, errStopped) {
		err = ended
	}
	return err
}

// streamEnded is told of every framework's stream that is no longer pumped.
func (c *core) streamEnded(out *outbox) {
	for _, f := range c.frameworks {
		if out != nil && f.out == out {
			c.disconnect(f)
			return
		}
	}
}

func wrongPrincipal(have, want string) error {
	return refuse(http.StatusBadRequest, "Authenticated principal '%s' does not match principal '%s' set in `FrameworkInfo`", have, want)
}

// acceptsJSON tells whether a client takes JSON; one that does not say takes it.
func acceptsJSON(headers []string) bool {
	if len(headers) == 0 {
		return true
	}
	for part := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		kind, params, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err == nil && params["q"] != "0" && slices.Contains([]string{"application/json", "application/*", "*/*"}, kind) {
			return true
		}
	}
	return false
}

// decodeAccept decodes the tasks of an ACCEPT, and refuses what is no LAUNCH before
// an offer is used up.
func decodeAccept(wire *wireAccept) (*accept, error) {
	if wire == nil {
		return nil, nil //nolint:nilnil // no ACCEPT has neither
	}
	out := &accept{offers: wire.OfferIDs, filters: wire.Filters}
	for _, op := range wire.Operations {
		if op.Type != mesos.OperationLaunch {
			return nil, refuse(http.StatusBadRequest, "Operation '%.64s' is not supported; LAUNCH is", op.Type)
		}
		if op.Launch == nil {
			return nil, refuse(http.StatusBadRequest, "Failed to validate scheduler::Call: Expecting 'launch' to be present")
		}
		for _, raw := range op.Launch.TaskInfos {
			l, err := decodeTask(raw)
			if err != nil {
				return nil, refuse(http.StatusBadRequest, "Failed to convert JSON into Call protobuf: %v", err)
			}
			out.launches = append(out.launches, l)
		}
	}
	return out, nil
}

// caller finds the framework that makes a call on its stream.
func (c *core) caller(id, streamID, principal string) (*framework, error) {
	f := c.frameworks[id]
	switch {
	case f == nil:
		return nil, refuse(http.StatusBadRequest, "Framework cannot be found")
	case f.info.Principal != principal:
		return nil, wrongPrincipal(principal, f.info.Principal)
	case f.out == nil:
		return nil, refuse(http.StatusForbidden, "Framework is not subscribed")
	case f.streamID != streamID:
		return nil, refuse(http.StatusBadRequest,
			"The stream ID '%.64s' included in this request didn't match the stream ID currently associated with framework ID %s", streamID, id)
	}
	return f, nil
}

func (c *core) call(f *framework, call *wireCall, accepted *accept) {
	switch call.Type {
	case mesos.CallTeardown:
		c.removeFramework(f, "Framework teardown")
	case mesos.CallAccept:
		c.accept(f, accepted)
	case mesos.CallDecline:
		c.decline(f, call.Decline)
	case mesos.CallRevive:
		c.revive(f, roles(call.Revive))
	case mesos.CallSuppress:
		c.suppress(f, roles(call.Suppress))
	case mesos.CallKill:
		c.kill(f, call.Kill)
	case mesos.CallAcknowledge:
		c.acknowledge(f, call.Acknowledge)
	case mesos.CallReconcile:
		c.reconcile(f, call.Reconcile)
	}
}

func roles(r *mesos.Roles) []string {
	if r == nil {
		return nil
	}
	return r.Roles
}
