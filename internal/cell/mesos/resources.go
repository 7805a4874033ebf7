package mesos

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// DefaultRole is the role of resources that are reserved for nobody.
const DefaultRole = "*"

// static is the type of reservations made by the worker's own configuration.
const static = "STATIC"

const (
	maxScalar = 1e12   // keeps sums of thousandths far from the end of int64
	maxRanges = 10_000 // of one resource
)

// Resources are amounts of one worker, or of one offer or task. Amounts of the
// same name, reservation and allocation add up; all others are kept apart. No
// method changes its receiver.
type Resources []Resource

// NewScalar is an unreserved amount of name.
func NewScalar(name string, value float64) Resource {
	return Resource{Name: name, Type: Scalar, Scalar: &ScalarValue{Value: value}}
}

// NewRanges is an unreserved set of whole numbers, ports for example.
func NewRanges(name string, ranges ...Range) Resource {
	return Resource{Name: name, Type: Ranges, Ranges: &RangesValue{Range: ranges}}
}

// ReservedFor returns the role the resource is reserved for, DefaultRole if for
// nobody. Both forms are understood: the role itself, and a list of reservations
// of which the last counts.
func (r Resource) ReservedFor() string {
	if n := len(r.Reservations); n > 0 {
		return r.Reservations[n-1].Role
	}
	if r.Role != "" {
		return r.Role
	}
	return DefaultRole
}

// AllocatedTo returns the role the resource is offered to, "" if it is not.
func (r Resource) AllocatedTo() string {
	if r.AllocationInfo == nil {
		return ""
	}
	return r.AllocationInfo.Role
}

// key tells which resources add up.
type key struct{ name, kind, reserved, allocated string }

func (r Resource) key() key {
	k := key{r.Name, r.Type, "", r.AllocatedTo()}
	switch {
	case len(r.Reservations) == 1 && isStatic(r.Reservations[0]):
		k.reserved = r.Reservations[0].Role
	case len(r.Reservations) > 0:
		for _, v := range r.Reservations {
			k.reserved += v.Type + "\x00" + v.Role + "\x00"
		}
	case r.Role != DefaultRole:
		k.reserved = r.Role
	}
	return k
}

func isStatic(v Reservation) bool { return v.Type == "" || v.Type == static }

// with returns the resource with another amount, which is that of v.
func (r Resource) with(v Resource) Resource {
	r.Scalar, r.Ranges, r.Set = v.Scalar, v.Ranges, v.Set
	return r
}

func (r Resource) empty() bool {
	switch r.Type {
	case Scalar:
		return r.Scalar == nil || Milli(r.Scalar.Value) == 0
	case Ranges:
		return r.Ranges == nil || len(r.Ranges.Range) == 0
	default:
		return r.Set == nil || len(r.Set.Item) == 0
	}
}

// Milli is a scalar in thousandths; all arithmetic is done on these.
func Milli(v float64) int64 { return int64(math.Round(v * 1000)) }

func fromMilli(n int64) *ScalarValue { return &ScalarValue{Value: float64(n) / 1000} }

// normal returns the resource with ranges and items sorted, joined and unshared.
func (r Resource) normal() Resource {
	switch r.Type {
	case Scalar:
		if r.Scalar != nil {
			r.Scalar = fromMilli(Milli(r.Scalar.Value))
		}
	case Ranges:
		if r.Ranges != nil {
			r.Ranges = &RangesValue{Range: joinRanges(r.Ranges.Range)}
		}
	case Set:
		if r.Set != nil {
			r.Set = &SetValue{Item: slices.Compact(slices.Sorted(slices.Values(r.Set.Item)))}
		}
	}
	return r
}

func (r Resource) plus(o Resource) Resource {
	switch r.Type {
	case Scalar:
		return r.with(Resource{Scalar: fromMilli(Milli(r.scalar()) + Milli(o.scalar()))})
	case Ranges:
		return r.with(Resource{Ranges: &RangesValue{Range: joinRanges(slices.Concat(r.ranges(), o.ranges()))}})
	default:
		return r.with(Resource{Set: &SetValue{Item: slices.Compact(slices.Sorted(slices.Values(slices.Concat(r.items(), o.items()))))}})
	}
}

func (r Resource) minus(o Resource) Resource {
	switch r.Type {
	case Scalar:
		return r.with(Resource{Scalar: fromMilli(max(0, Milli(r.scalar())-Milli(o.scalar())))})
	case Ranges:
		return r.with(Resource{Ranges: &RangesValue{Range: cutRanges(r.ranges(), joinRanges(o.ranges()))}})
	default:
		keep := slices.DeleteFunc(slices.Clone(r.items()), func(s string) bool { return slices.Contains(o.items(), s) })
		return r.with(Resource{Set: &SetValue{Item: keep}})
	}
}

// contains wants both normal.
func (r Resource) contains(o Resource) bool {
	switch r.Type {
	case Scalar:
		return Milli(r.scalar()) >= Milli(o.scalar())
	case Ranges:
		return len(cutRanges(o.ranges(), r.ranges())) == 0
	default:
		return !slices.ContainsFunc(o.items(), func(s string) bool { return !slices.Contains(r.items(), s) })
	}
}

func (r Resource) scalar() float64 {
	if r.Scalar == nil {
		return 0
	}
	return r.Scalar.Value
}

func (r Resource) ranges() []Range {
	if r.Ranges == nil {
		return nil
	}
	return r.Ranges.Range
}

func (r Resource) items() []string {
	if r.Set == nil {
		return nil
	}
	return r.Set.Item
}

// Validate tells what is wrong with resources that came from outside.
func (rs Resources) Validate() error {
	for _, r := range rs {
		if err := r.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (r Resource) validate() error {
	if r.Name == "" {
		return fmt.Errorf("a resource has no name")
	}
	given := map[string]bool{Scalar: r.Scalar != nil, Ranges: r.Ranges != nil, Set: r.Set != nil}
	if ok, known := given[r.Type]; !known || !ok {
		return fmt.Errorf("resource '%s' has type '%s' but no value of that type", r.Name, r.Type)
	}
	if v := r.scalar(); math.IsNaN(v) || v < 0 || v > maxScalar {
		return fmt.Errorf("resource '%s' must be a number from 0 to %d", r.Name, int64(maxScalar))
	}
	if len(r.ranges()) > maxRanges {
		return fmt.Errorf("resource '%s' has more than %d ranges", r.Name, maxRanges)
	}
	for _, g := range r.ranges() {
		if g.Begin > g.End {
			return fmt.Errorf("resource '%s' has the range [%d-%d], whose end is before its begin", r.Name, g.Begin, g.End)
		}
	}
	if r.Role != "" && r.Role != DefaultRole && len(r.Reservations) > 0 {
		return fmt.Errorf("resource '%s' has both a role and reservations", r.Name)
	}
	return nil
}

// Normal returns the resources with the same ones joined and empty ones left out.
func (rs Resources) Normal() Resources { return Resources(nil).Add(rs) }

// Add returns the sum.
func (rs Resources) Add(others Resources) Resources {
	sum := slices.Clone(rs)
	for _, o := range others {
		if o.empty() {
			continue
		}
		if i := sum.find(o.key()); i >= 0 {
			sum[i] = sum[i].plus(o)
		} else {
			sum = append(sum, o.normal())
		}
	}
	return sum
}

// Sum is the sum of many, made in one go.
func Sum(all ...Resources) Resources {
	var sum Resources
	at := map[key]int{}
	for _, rs := range all {
		for _, r := range rs {
			if r.empty() {
				continue
			}
			k := r.key()
			i, known := at[k]
			if !known {
				i = len(sum)
				at[k] = i
				sum = append(sum, r.normal())
				continue
			}
			switch r.Type {
			case Scalar:
				sum[i].Scalar.Value = float64(Milli(sum[i].scalar())+Milli(r.scalar())) / 1000
			case Ranges:
				sum[i].Ranges.Range = append(sum[i].Ranges.Range, r.ranges()...)
			default:
				sum[i].Set.Item = append(sum[i].Set.Item, r.items()...)
			}
		}
	}
	for i := range sum {
		sum[i] = sum[i].normal()
	}
	return sum
}

// Subtract returns what is left. What is not there is not missed: ask Contains
// first.
func (rs Resources) Subtract(others Resources) Resources {
	left := rs.clean()
	for _, o := range others {
		if i := left.find(o.key()); i >= 0 {
			left[i] = left[i].minus(o)
		}
	}
	return slices.DeleteFunc(left, Resource.empty)
}

// Contains tells whether all of others can be taken from the resources at once.
// Reserved resources are not taken for unreserved ones nor the other way round.
func (rs Resources) Contains(others Resources) bool {
	mine := rs.clean()
	for _, o := range others.Normal() {
		i := mine.find(o.key())
		if i < 0 || !mine[i].contains(o) {
			return false
		}
	}
	return true
}

// clean is a copy in which every key is there once, in normal form.
func (rs Resources) clean() Resources {
	for i, r := range rs {
		if rs[:i].find(r.key()) >= 0 {
			return rs.Normal()
		}
	}
	out := make(Resources, len(rs))
	for i, r := range rs {
		out[i] = r.normal()
	}
	return out
}

func (rs Resources) find(k key) int {
	return slices.IndexFunc(rs, func(r Resource) bool { return r.Name == k.name && r.key() == k })
}

// Empty tells whether nothing is there.
func (rs Resources) Empty() bool {
	return !slices.ContainsFunc(rs, func(r Resource) bool { return !r.empty() })
}

// Scalar returns the sum of name over all roles.
func (rs Resources) Scalar(name string) float64 {
	var n int64
	for _, r := range rs {
		if r.Name == name && r.Type == Scalar {
			n += Milli(r.scalar())
		}
	}
	return float64(n) / 1000
}

// Ranges returns the ranges of name over all roles, sorted and joined.
func (rs Resources) Ranges(name string) []Range {
	var all []Range
	for _, r := range rs {
		if r.Name == name && r.Type == Ranges {
			all = append(all, r.ranges()...)
		}
	}
	return joinRanges(all)
}

// Where returns those for which keep says true.
func (rs Resources) Where(keep func(Resource) bool) Resources {
	var out Resources
	for _, r := range rs {
		if keep(r) {
			out = append(out, r)
		}
	}
	return out
}

// For returns what a framework of role may be offered: what is reserved for
// nobody, for the role, or for a role above it ("a" is above "a/b").
func (rs Resources) For(role string) Resources {
	return rs.Where(func(r Resource) bool {
		to := r.ReservedFor()
		return to == DefaultRole || to == role || strings.HasPrefix(role, to+"/")
	})
}

// Allocate returns the resources marked as offered to role; "" takes the mark off.
func (rs Resources) Allocate(role string) Resources {
	out := slices.Clone(rs)
	for i := range out {
		out[i].AllocationInfo = nil
		if role != "" {
			out[i].AllocationInfo = &AllocationInfo{Role: role}
		}
	}
	return out
}

// Refined returns the resources in the form for frameworks with the capability
// RESERVATION_REFINEMENT: a list of reservations and no role.
func (rs Resources) Refined() Resources {
	out := slices.Clone(rs)
	for i := range out {
		if role := out[i].Role; len(out[i].Reservations) == 0 && role != "" && role != DefaultRole {
			out[i].Reservations = []Reservation{{Type: static, Role: role}}
		}
		out[i].Role = ""
	}
	return out
}

// Legacy returns the resources in the older form: a role, "*" for nobody's. What
// that form cannot say, a reservation refined by another, is left out.
func (rs Resources) Legacy() Resources {
	var out Resources
	for _, r := range rs {
		if len(r.Reservations) > 1 {
			continue
		}
		r.Role, r.Reservations = r.ReservedFor(), nil
		out = append(out, r)
	}
	return out
}
