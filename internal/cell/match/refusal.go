package match

import "strings"

// Refusal is a worker that took no instance, and why.
type Refusal struct {
	AgentID string
	Worker  string // host name, with the address where it is known
	Offers  int    // of this worker
	Reason  string // one of Reasons
	Text    string
}

// String is the whole sentence.
func (r Refusal) String() string { return r.Worker + ": " + r.Text }

// Refusals are the workers that took nothing.
type Refusals struct {
	Offers  int // that were looked at
	Workers []Refusal
}

// Reject is one line of Marathon's summaries: of so many offers that came to this
// reason, so many were declined for it.
type Reject struct {
	Reason    string `json:"reason"`
	Declined  int    `json:"declined"`
	Processed int    `json:"processed"`
}

// Summary counts refused offers by their first reason. Each line processes what
// the lines before have left.
func (r Refusals) Summary() []Reject {
	declined := map[string]int{}
	for _, w := range r.Workers {
		declined[w.Reason] += w.Offers
	}
	left := r.Offers
	var out []Reject
	for _, reason := range Reasons() {
		out = append(out, Reject{reason, declined[reason], left})
		left -= declined[reason]
	}
	return out
}

// String says every refusal, a line each.
func (r Refusals) String() string {
	var b strings.Builder
	for _, w := range r.Workers {
		b.WriteString(w.String() + "\n")
	}
	return b.String()
}

// refusals asks every filter in its order why workers without an instance of this
// search would not take one now.
func (s *search) refusals(offers int) Refusals {
	out := Refusals{Offers: offers}
	for _, w := range s.workers {
		if w.placed > 0 {
			continue
		}
		for n := range s.filters {
			if f := &s.filters[n]; !f.check(s, w) {
				out.Workers = append(out.Workers, Refusal{w.id, w.name(), len(w.offers), f.reason, f.explain(s, w)})
				break
			}
		}
	}
	return out
}

func (w *worker) name() string {
	if w.address == "" || w.address == w.host {
		return w.host
	}
	return w.host + " (" + w.address + ")"
}
