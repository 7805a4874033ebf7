// Package deploy owns how an app gets from the instances it has to those it
// should have: how many to launch, which to kill, and what is waited for. Its
// answers depend on nothing but what it is given, and nothing is kept between
// two of them: after a crash the next answer simply goes on. It must not know
// offers, health checkers, the store or HTTP.
package deploy

import (
	"math"
	"time"

	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/number"
)

// Kill selections, as apps name them.
const (
	YoungestFirst = "YOUNGEST_FIRST"
	OldestFirst   = "OLDEST_FIRST"
)

// Strategy bounds a replacement: parts of the wanted number, both from 0 to 1.
type Strategy struct {
	MinimumHealth float64 // this part stays healthy
	MaximumOver   float64 // so much more may be active
}

// Target is what an app should be.
type Target struct {
	Wanted int
	// Base is the highest wanted number since the app was last as it should be.
	// The progress of a scale-down is counted from it.
	Base int
	// Version is that of the wanted configuration. Instances with another one are
	// replaced; zero accepts every version.
	Version       time.Time
	Strategy      Strategy
	KillSelection string // YoungestFirst unless set
	HealthChecks  bool   // a new instance must be proven healthy
	Readiness     bool   // a new instance must be ready
	Resident      bool   // must not have more instances than wanted
	// Sentenced are ids of instances that somebody asked to end, whatever the
	// strategy says.
	Sentenced map[string]bool
	// Leaving are ids of instances that must go elsewhere, such as those of a
	// draining worker. They are replaced like those of an old version.
	Leaving map[string]bool
	// Balance returns the ids of instances whose removal spreads the others better,
	// best first and at most n of them. Nil where no constraint asks for it.
	Balance  func(candidates []*instance.Instance, n int) []string
	Deadline Deadline
}

// Deadline bounds how long a deployment may go without progress.
type Deadline struct {
	Started time.Time
	// LastProgress is when Decision.Progress last was higher than ever before in
	// this deployment.
	LastProgress time.Time
	Limit        time.Duration // 0: none
}

// Kill is an instance to end, and why.
type Kill struct {
	ID  string
	Why string
}

// Decision is what to do now.
type Decision struct {
	// Launch is how many instances of the new version are wanted beyond those that
	// exist. It is a demand, not an order: the next Decision says it anew.
	Launch int
	Kill   []Kill
	Wait   string // what is waited for, empty when Done; Waits says it whole
	// On is the instance that is waited for, if it is one, and Since when that began.
	On    string
	Since time.Time
	Done  bool // everything is as it should be
	// Stalled says that the deadline has passed, and over what.
	Stalled string
	// Progress measures how far this is, from 0 on. Keep the highest of a deployment:
	// only a higher one is progress, so an instance that starts and fails is none.
	Progress int
}

// Next tells what to do for an app with these instances. Instances that the
// caller already kills (KillAsked) are not named again, but count as active
// until they have ended: to repeat the kill is the caller's task.
//
// Launches keep the number of active instances at or below Ceiling. Kills keep
// the number of healthy ones at or above Strategy.MinimumHealth where it is;
// only Sentenced instances, and one of a Resident app, end regardless.
//
// The instances are not changed.
func Next(t Target, instances []*instance.Instance, now time.Time) Decision {
	s := survey(t, instances)
	var d Decision
	d.Kill = append(d.Kill, s.sentence()...)
	d.Kill = append(d.Kill, s.killOld()...)
	d.Kill = append(d.Kill, s.killSurplus()...)
	d.Launch = max(0, min(t.Wanted-len(s.fresh), s.capacity-s.active))
	d.Progress = s.progress()
	d.Done = s.active == t.Wanted && s.freshHealthy == t.Wanted && len(d.Kill) == 0
	if !d.Done {
		d.Wait = s.wait(&d)
		d.Stalled = t.stalled(d, now)
	}
	return d
}

// Ceiling returns how many instances may be active at most under this target.
// Only a lost instance that returns can lift the number above it; one too many
// is then killed.
func (t Target) Ceiling() int {
	n := max(t.Wanted, t.Base)
	return max(n, t.over(n))
}

// over returns how many may be active while instances are replaced.
func (t Target) over(n int) int {
	limit := int(math.Floor(float64(n)*(1+t.Strategy.MaximumOver) + tiny))
	if n > 0 && !t.Resident && limit == t.minHealthy(n) {
		return limit + 1 // else nothing could ever be replaced
	}
	return limit
}

// accepts tells whether instances of a version are as wanted.
func (t Target) accepts(version time.Time) bool {
	return t.Version.IsZero() || version.Equal(t.Version)
}

// tiny takes up what floating point adds: 30 × 0.1 is 3.0000000000000004.
const tiny = 1e-9

func (t Target) minHealthy(n int) int {
	return int(math.Ceil(float64(n)*t.Strategy.MinimumHealth - tiny))
}

// floor returns how many healthy instances no kill of ours may go below.
func (t Target) floor() int {
	n := t.minHealthy(t.Wanted)
	if t.Resident && n > 0 && n == t.over(t.Wanted) {
		return n - 1 // a resident app has no room for one more: it makes do with one less
	}
	return n
}

func (t Target) stalled(d Decision, now time.Time) string {
	since := t.Deadline.Started
	if t.Deadline.LastProgress.After(since) {
		since = t.Deadline.LastProgress
	}
	if t.Deadline.Limit <= 0 || now.Sub(since) < t.Deadline.Limit {
		return ""
	}
	return "no progress for " + number.Span(now.Sub(since)) + ": " + d.Waits(now)
}
