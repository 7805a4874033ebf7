package match

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/number"
)

// rule is one constraint with the instances it has counted.
type rule struct {
	field, operator string
	text            string // the constraint's value
	given           bool   // it has one
	limit           int    // the value as a number, for GROUP_BY and MAX_PER
	pattern         *regexp.Regexp

	groups map[string]int // value → its place in count
	count  []int          // instances by value
	used   int            // values that have instances
	least  int            // instances of the value that has the fewest
	total  int            // instances, those without the field too
}

// newRule counts the existing instances. hosts are the names of workers by id: an
// instance may have been noted under the address of its worker.
func newRule(c app.Constraint, existing []*instance.Instance, hosts map[string]string) *rule {
	r := &rule{field: c.Field(), operator: c.Operator(), groups: map[string]int{}}
	r.text, r.given = c.Value()
	switch r.operator {
	case app.GroupBy, app.MaxPer:
		r.limit, _ = strconv.Atoi(r.text)
	case app.Like, app.Unlike:
		r.pattern, _ = regexp.Compile(`^(?:` + r.text + `)$`) // nil if broken, and then nothing matches
	}
	for _, i := range existing {
		r.add(r.value(cmp.Or(hosts[i.AgentID], i.Host), i.Region, i.Zone, i.Attributes))
	}
	return r
}

// counts tells whether the answer depends on the other instances.
func (r *rule) counts() bool {
	switch r.operator {
	case app.Unique, app.Cluster, app.GroupBy, app.MaxPer:
		return true
	default:
		return false
	}
}

func (r *rule) valueOf(w *worker) value { return r.value(w.host, w.region, w.zone, w.attributes) }

// add counts an instance that runs, or was placed.
func (r *rule) add(v value) {
	if !r.counts() {
		return
	}
	r.total++
	if v.group < 0 {
		return
	}
	if r.count[v.group] == 0 {
		r.used++
	}
	r.count[v.group]++
	if r.operator != app.GroupBy {
		return
	}
	r.least = 0
	for _, n := range r.count {
		if n > 0 && (r.least == 0 || n < r.least) {
			r.least = n
		}
	}
}

// check tells whether a worker with this value may take one more.
func (r *rule) check(v value) bool {
	if !v.ok {
		return r.operator == app.Unlike
	}
	switch r.operator {
	case app.Unique:
		return r.count[v.group] == 0
	case app.Cluster:
		return (!r.given || r.text == "" || r.text == v.text) && r.count[v.group] == r.total
	case app.GroupBy:
		n := r.count[v.group]
		return n == 0 || r.used >= r.limit && n == r.least
	case app.MaxPer:
		return r.count[v.group] < r.limit
	case app.Like:
		return r.pattern != nil && r.pattern.MatchString(v.text)
	case app.Unlike:
		return r.pattern != nil && !r.pattern.MatchString(v.text)
	case app.Is:
		return v.is(r.text)
	default:
		return false
	}
}

// having returns the instances with the same value.
func (r *rule) having(v value) int {
	if v.group < 0 {
		return 0
	}
	return r.count[v.group]
}

// explain says why check said no.
func (r *rule) explain(v value, id string) string {
	name := r.field + " " + r.operator
	if r.given {
		name += " " + r.text
	}
	if !v.ok {
		return fmt.Sprintf("%s: has no %s", name, r.fieldName())
	}
	return name + ": " + r.finding(v, id)
}

func (r *rule) finding(v value, id string) string {
	here := number.Count(r.having(v), "instance")
	switch {
	case r.operator == app.Unique && isHost(r.field):
		return "already runs an instance of " + id
	case r.operator == app.Unique:
		return fmt.Sprintf("an instance of %s already runs with %s", id, v.text)
	case r.operator == app.Cluster && r.given && r.text != "" && r.text != v.text:
		return "has " + v.text
	case r.operator == app.Cluster:
		return fmt.Sprintf("has %s, instances of %s run elsewhere", v.text, id)
	case r.operator == app.GroupBy && r.used < r.limit:
		return fmt.Sprintf("%s has %s of %s, which run in %d of %d groups", v.text, here, id, r.used, r.limit)
	case r.operator == app.GroupBy:
		return fmt.Sprintf("%s has %s of %s, another has %d", v.text, here, id, r.least)
	case r.operator == app.MaxPer:
		return fmt.Sprintf("%s has %s of %s", v.text, here, id)
	default:
		return "has " + v.text
	}
}

func (r *rule) fieldName() string {
	switch {
	case isHost(r.field):
		return "host name"
	case r.field == fieldRegion:
		return "region"
	case r.field == fieldZone:
		return "zone"
	default:
		return "attribute " + r.field
	}
}
