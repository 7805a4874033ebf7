package marathon

import (
	"net/http"
	"slices"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/match"
	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/scheduler"
)

type queueBody struct {
	Queue []queued `json:"queue"`
}

// queued is an app that wants launches. Reasons is Howdah's own: what keeps each
// worker from taking one, in a sentence.
type queued struct {
	Count     int           `json:"count"`
	Role      string        `json:"role"`
	Delay     delay         `json:"delay"`
	Since     app.Timestamp `json:"since"`
	Processed processed     `json:"processedOffersSummary"`
	Offers    []unusedOffer `json:"lastUnusedOffers,omitzero"`
	Reasons   []string      `json:"reasons,omitempty"`
	App       *app.App      `json:"app"`
}

type delay struct {
	Left    int64 `json:"timeLeftSeconds"`
	Overdue bool  `json:"overdue"`
}

type processed struct {
	Processed int            `json:"processedOffersCount"`
	Unused    int            `json:"unusedOffersCount"`
	UnusedAt  *app.Timestamp `json:"lastUnusedOfferAt"`
	UsedAt    *app.Timestamp `json:"lastUsedOfferAt"`
	Last      []match.Reject `json:"rejectSummaryLastOffers"`
	Attempt   []match.Reject `json:"rejectSummaryLaunchAttempt"`
}

type unusedOffer struct {
	Offer     offerView     `json:"offer"`
	Reason    []string      `json:"reason"`
	Timestamp app.Timestamp `json:"timestamp"`
}

// offerView is an offer in Marathon's form, which is flatter than Mesos's.
type offerView struct {
	ID         string      `json:"id"`
	AgentID    string      `json:"agentId"`
	Hostname   string      `json:"hostname"`
	Resources  []valueView `json:"resources"`
	Attributes []valueView `json:"attributes"`
}

// valueView is a resource or an attribute. One of the values is there.
type valueView struct {
	Name   string        `json:"name"`
	Role   string        `json:"role,omitempty"`
	Scalar *float64      `json:"scalar,omitempty"`
	Ranges []mesos.Range `json:"ranges,omitzero"`
	Set    []string      `json:"set,omitzero"`
	Text   *string       `json:"text,omitempty"`
}

func showOffer(o mesos.Offer) offerView {
	out := offerView{ID: o.ID.Value, AgentID: o.AgentID.Value, Hostname: o.Hostname, Resources: []valueView{}, Attributes: []valueView{}}
	for _, r := range o.Resources {
		v := showValue(r.Name, r.Scalar, r.Ranges, r.Set)
		v.Role = r.ReservedFor()
		out.Resources = append(out.Resources, v)
	}
	for _, a := range o.Attributes {
		v := showValue(a.Name, a.Scalar, a.Ranges, a.Set)
		if a.Text != nil {
			v.Text = &a.Text.Value
		}
		out.Attributes = append(out.Attributes, v)
	}
	return out
}

func showValue(name string, scalar *mesos.ScalarValue, ranges *mesos.RangesValue, set *mesos.SetValue) valueView {
	v := valueView{Name: name}
	switch {
	case scalar != nil:
		v.Scalar = &scalar.Value
	case ranges != nil:
		v.Ranges = append([]mesos.Range{}, ranges.Range...)
	case set != nil:
		v.Set = append([]string{}, set.Item...)
	}
	return v
}

func (a *API) queue(_ http.ResponseWriter, c *call) (any, error) {
	withOffers := slices.Contains(c.URL.Query()["embed"], "lastUnusedOffers")
	out := queueBody{Queue: []queued{}}
	a.engine.View(func(v scheduler.View) {
		for at := range v.Apps() {
			if q := v.Queued(at.Spec.ID); q != nil && owns(c.who, at.Spec.ID) {
				out.Queue = append(out.Queue, showQueued(at, q, withOffers))
			}
		}
	})
	return out, nil
}

func showQueued(at *scheduler.App, q *scheduler.Queued, withOffers bool) queued {
	left := max(0, time.Until(at.Backoff.Until))
	out := queued{
		Count: q.Count, Role: at.Spec.Role, Delay: delay{Left: int64(left.Round(time.Second).Seconds()), Overdue: left == 0}, Since: app.At(q.Since), App: at.Spec,
		Processed: processed{
			Processed: q.Processed, Unused: q.Unused, UnusedAt: stamp(q.LastUnused), UsedAt: stamp(q.LastUsed),
			Last: q.Last.Summary(), Attempt: q.Attempt,
		},
	}
	if out.Processed.Attempt == nil {
		out.Processed.Attempt = q.Last.Summary()
	}
	for _, r := range q.Last.Workers {
		out.Reasons = append(out.Reasons, r.String())
	}
	slices.Sort(out.Reasons)
	if !withOffers {
		return out
	}
	out.Offers = []unusedOffer{}
	for _, o := range q.Held {
		n := slices.IndexFunc(q.Last.Workers, func(r match.Refusal) bool { return r.AgentID == o.AgentID.Value })
		if n >= 0 {
			out.Offers = append(out.Offers, unusedOffer{showOffer(o.Offer), []string{q.Last.Workers[n].Reason}, app.At(q.LastUnused)})
		}
	}
	return out
}

func stamp(t time.Time) *app.Timestamp {
	if t.IsZero() {
		return nil
	}
	at := app.At(t)
	return &at
}

func (a *API) resetDelay(_ http.ResponseWriter, c *call) (any, error) {
	var known bool
	a.engine.View(func(v scheduler.View) { known = v.Queued(c.id) != nil })
	if !known || !owns(c.who, c.id) {
		return nil, notFound("App '" + c.id + "' not found in the launch queue")
	}
	if flag(c.URL.Query(), "dryRun", false) {
		return noContent(http.StatusNoContent), nil
	}
	return noContent(http.StatusNoContent), a.engine.ResetDelay(c.Context(), c.id)
}
