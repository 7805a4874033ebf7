package cli

import (
	"fmt"
	"io"
	"slices"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/number"
)

// printCause prints the one root cause of what keeps a cluster from being
// ready, what would help, and how much follows from it.
func printCause(w io.Writer, c *api.Cause, folded bool) {
	if c == nil {
		return
	}
	when := ""
	if !c.Since.IsZero() {
		when = " (since " + since(c.Since) + ")"
	}
	fmt.Fprintf(w, "Cause: %s%s\nNext:  %s\n", tame(c.Message), when, tame(c.Next))
	if folded && c.Follows > 0 {
		fmt.Fprintf(w, "       and %d more because of it\n", c.Follows)
	}
}

// printChain prints why a cluster is not ready, its cause first. What only
// follows from it is counted, unless all is asked for.
func printChain(w io.Writer, fs []api.Finding, all bool) {
	var rest []api.Finding
	follows := 0
	for _, f := range fs {
		when := ""
		if !f.Since.IsZero() {
			when = " (since " + since(f.Since) + ")"
		}
		switch {
		case f.Kind == "cause":
			fmt.Fprintf(w, "Cause: %s%s\n", tame(f.Message), when)
		case f.Kind == "next":
			fmt.Fprintf(w, "Next:  %s\n", tame(f.Message))
		case f.Kind == "follows" && !all:
			follows++
		default:
			rest = append(rest, f)
		}
	}
	printFindings(w, rest)
	if follows > 0 {
		fmt.Fprintf(w, "  and %d more because of it; -o wide shows all\n", follows)
	}
}

// surroundings are the conditions that leave a cluster as it is, and that its
// owner should know of.
var surroundings = []string{
	api.ConditionDiskPressure, api.ConditionMemoryPressure, api.ConditionClockSkew, api.ConditionNameResolution, api.ConditionAgentFailing,
}

// printWarnings prints what is wrong around a cluster that is ready.
func printWarnings(w io.Writer, c api.ClusterStatus) {
	for _, cond := range c.Conditions {
		switch {
		case !slices.Contains(surroundings, cond.Type):
		case cond.Bad():
			fmt.Fprintf(w, "\n%s is %s, but %s: %s\n", c.Name, c.State, cond.Type, tame(cond.Message))
		case cond.Unknown():
			fmt.Fprintf(w, "\n%s is %s; %s is not known: %s\n", c.Name, c.State, cond.Type, tame(cond.Message))
		}
	}
}

// holds writes whether a condition holds.
func holds(c api.Condition) string {
	if c.Unknown() {
		return "unknown"
	}
	return fmt.Sprint(c.Status)
}

// printNodeConditions prints what is wrong with a node, or could not be found out.
func printNodeConditions(w io.Writer, cs []api.Condition) {
	for _, c := range cs {
		if c.Bad() || c.Unknown() {
			fmt.Fprintf(w, "  %s %s: %s\n", c.Type, holds(c), tame(c.Message))
		}
	}
}

// printProbes prints what the probes of a service found: in short the one that
// counts now, else both with all that is kept.
func printProbes(w io.Writer, s api.ServiceStatus, all bool) {
	for i, p := range s.Probes {
		if !all && i < len(s.Probes)-1 {
			continue // the health probe counts once there is one
		}
		fmt.Fprintf(w, "    %s of %s: every %g s, %d asked and %d failed since %s, p50 %.1f ms, p95 %.1f ms%s\n",
			p.Kind, s.Name, p.EverySeconds, p.Asked, p.Failed, clock(p.Since), p.P50Millis, p.P95Millis, lastFailure(p, all))
		if !all {
			continue
		}
		for _, r := range p.Results {
			found := "held"
			if !r.OK {
				found = tame(r.Message)
			}
			fmt.Fprintf(w, "      %s to %s  %s, the last in %.1f ms: %s\n", clock(r.First), clock(r.Last), number.Count(int(r.Count), "time"), r.Millis, found)
		}
	}
}

// lastFailure tells of the newest failures in a row; nothing where all is shown.
func lastFailure(p api.Probing, all bool) string {
	for _, r := range slices.Backward(p.Results) {
		if !r.OK && !all {
			return fmt.Sprintf("; failed last at %s, %s in a row: %s", clock(r.Last), number.Count(int(r.Count), "time"), tame(r.Message))
		}
	}
	return ""
}

func clock(t time.Time) string { return t.Local().Format(time.TimeOnly) }
