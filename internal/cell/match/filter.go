package match

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"howdah.dev/howdah/internal/number"
)

// Why an offer was not used, in Marathon's words.
const (
	UnfulfilledRole                 = "UnfulfilledRole"
	UnfulfilledConstraint           = "UnfulfilledConstraint"
	NoCorrespondingReservationFound = "NoCorrespondingReservationFound"
	AgentMaintenance                = "AgentMaintenance"
	InsufficientCpus                = "InsufficientCpus"
	InsufficientMemory              = "InsufficientMemory"
	InsufficientDisk                = "InsufficientDisk"
	InsufficientGpus                = "InsufficientGpus"
	InsufficientPorts               = "InsufficientPorts"
	DeclinedScarceResources         = "DeclinedScarceResources"
)

// Reasons returns all reasons in the order in which they are looked at, which is
// that of Marathon's summaries.
func Reasons() []string {
	return []string{
		UnfulfilledRole, UnfulfilledConstraint, NoCorrespondingReservationFound, AgentMaintenance,
		InsufficientCpus, InsufficientMemory, InsufficientDisk, InsufficientGpus, InsufficientPorts, DeclinedScarceResources,
	}
}

// kind tells when the answer of a filter may change during a search.
type kind int

const (
	fixed     kind = iota // never
	counting              // with each instance that is placed, for better or worse
	resources             // with each instance on the same worker, for worse
)

// filter is one thing that a worker must fulfil.
type filter struct {
	reason  string
	kind    kind
	check   func(*search, *worker) bool
	explain func(*search, *worker) string // after check said no
}

// filters are all of them in their order: first what will not change by waiting.
func filters() []filter {
	return []filter{
		{UnfulfilledRole, fixed, checkOffered, explainOffered},
		{UnfulfilledRole, fixed, checkRole, explainRole},
		{UnfulfilledConstraint, fixed, checkRules(false), explainRules(false)},
		{UnfulfilledConstraint, counting, checkRules(true), explainRules(true)},
		{UnfulfilledConstraint, fixed, checkRuntime, explainRuntime},
		{AgentMaintenance, fixed, checkStaying, explainStaying},
		{InsufficientCpus, resources, checkScalar(0), explainScalar(0, "cpu", "cpus")},
		{InsufficientMemory, resources, checkScalar(1), explainScalar(1, "MB of memory", "MB of memory")},
		{InsufficientDisk, resources, checkScalar(2), explainScalar(2, "MB of disk", "MB of disk")},
		{InsufficientGpus, resources, checkScalar(3), explainScalar(3, "gpu", "gpus")},
		{InsufficientPorts, resources, checkPorts, explainPorts},
	}
}

// allows asks all filters of a kind.
func (s *search) allows(w *worker, k kind) bool {
	for n := range s.filters {
		if f := &s.filters[n]; f.kind == k && !f.check(s, w) {
			return false
		}
	}
	return true
}

func checkOffered(s *search, w *worker) bool {
	return s.req.Role == "" || w.role == "" || w.role == s.req.Role
}

func explainOffered(s *search, w *worker) string {
	return fmt.Sprintf("is offered to role %s, the app has role %s", w.role, s.req.Role)
}

func checkRole(_ *search, w *worker) bool {
	if len(w.found) == 0 || len(w.ports) > 0 {
		return true
	}
	return slices.ContainsFunc(w.scalar[:], func(a []amount) bool { return len(a) > 0 })
}

func explainRole(s *search, w *worker) string {
	return fmt.Sprintf("has only resources of role %s, the app accepts those of %s", strings.Join(w.found, ", "), strings.Join(s.roles, ", "))
}

func checkRules(counts bool) func(*search, *worker) bool {
	return func(s *search, w *worker) bool {
		for n, r := range s.rules {
			if r.counts() == counts && !r.check(w.values[n]) {
				return false
			}
		}
		return true
	}
}

func explainRules(counts bool) func(*search, *worker) string {
	return func(s *search, w *worker) string {
		for n, r := range s.rules {
			if r.counts() == counts && !r.check(w.values[n]) {
				return r.explain(w.values[n], s.req.App)
			}
		}
		return ""
	}
}

func checkRuntime(s *search, w *worker) bool {
	return !s.req.Container || len(w.runtimes) == 0 || slices.ContainsFunc(w.runtimes, func(r string) bool { return r != Plain })
}

// Plain is the runtime of workers that can run commands and no containers.
const Plain = "plain"

func explainRuntime(*search, *worker) string {
	return "runs only plain commands, the app needs a container"
}

func checkStaying(_ *search, w *worker) bool { return !w.leaving }

func explainStaying(*search, *worker) string { return "is being drained" }

func checkScalar(at int) func(*search, *worker) bool {
	return func(s *search, w *worker) bool { return s.need.scalar[at] == 0 || w.free(at) >= s.need.scalar[at] }
}

func explainScalar(at int, one, many string) func(*search, *worker) string {
	return func(s *search, w *worker) string {
		want, have := s.need.scalar[at], w.free(at)
		unit, verb := many, "are"
		if want == 1000 {
			unit = one
		}
		if have == 1000 {
			verb = "is"
		}
		return fmt.Sprintf("needs %s %s; %s %s free", scalar(want), unit, scalar(have), verb)
	}
}

// scalar writes thousandths.
func scalar(n int64) string { return strconv.FormatFloat(float64(n)/1000, 'f', -1, 64) }

func checkPorts(s *search, w *worker) bool { return w.hasPorts(s.need) }

func explainPorts(s *search, w *worker) string {
	var missing []string
	for _, p := range s.need.exact {
		if !w.hasPort(p) {
			missing = append(missing, strconv.FormatUint(p, 10))
		}
	}
	switch len(missing) {
	case 0:
		want, have := len(s.need.exact)+s.need.any, w.freePorts()
		return fmt.Sprintf("needs %s; %d %s free", number.Count(want, "port"), have, verb(have))
	case 1:
		return fmt.Sprintf("needs port %s; it is not free", missing[0])
	default:
		return fmt.Sprintf("needs ports %s; they are not free", strings.Join(missing, ", "))
	}
}

func verb(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
