package mesos

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ParseResources reads resources as mesos-agent takes them:
// "cpus:4;mem:8192;ports:[31000-32000];cpus(role):2;disks:{a,b}".
func ParseResources(text string) (Resources, error) {
	var out Resources
	for _, part := range strings.FieldsFunc(text, isSeparator) {
		if strings.TrimSpace(part) == "" {
			continue
		}
		r, err := parseResource(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("cannot read resources %q: %w", text, err)
		}
		out = append(out, r)
	}
	if err := out.Validate(); err != nil {
		return nil, fmt.Errorf("cannot read resources %q: %w", text, err)
	}
	return out.Normal(), nil
}

func isSeparator(c rune) bool { return c == ';' || c == '\n' }

func parseResource(text string) (Resource, error) {
	name, value, ok := strings.Cut(text, ":")
	name = strings.TrimSpace(name)
	if !ok || name == "" {
		return Resource{}, fmt.Errorf("%q is not name:value", text)
	}
	r := Resource{Name: name}
	if plain, role, reserved := strings.Cut(name, "("); reserved {
		role, ok = strings.CutSuffix(role, ")")
		if !ok || role == "" || plain == "" {
			return Resource{}, fmt.Errorf("%q is not name(role)", name)
		}
		if r.Name = plain; role != DefaultRole {
			r.Role = role
		}
	}
	v, err := parseValue(strings.TrimSpace(value))
	if err != nil {
		return Resource{}, err
	}
	if v.Type == Text {
		return Resource{}, fmt.Errorf("%q is not a number, [ranges] or {set}", value)
	}
	r.Type, r.Scalar, r.Ranges, r.Set = v.Type, v.Scalar, v.Ranges, v.Set
	return r, nil
}

// ParseAttributes reads attributes as mesos-agent takes them: "rack:r1;zone:z;size:3".
func ParseAttributes(text string) ([]Attribute, error) {
	var out []Attribute
	for _, part := range strings.FieldsFunc(text, isSeparator) {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, fmt.Errorf("cannot read attributes %q: %q is not name:value", text, part)
		}
		a, err := parseValue(strings.TrimSpace(value))
		if err != nil {
			return nil, fmt.Errorf("cannot read attributes %q: %w", text, err)
		}
		a.Name = strings.TrimSpace(name)
		out = append(out, a)
	}
	return out, nil
}

// parseValue reads a value; its brackets tell its type.
func parseValue(text string) (Attribute, error) {
	switch {
	case strings.HasPrefix(text, "["):
		ranges, err := parseRanges(text)
		return Attribute{Type: Ranges, Ranges: &RangesValue{Range: ranges}}, err
	case strings.HasPrefix(text, "{"):
		inner, ok := strings.CutSuffix(text[1:], "}")
		if !ok {
			return Attribute{}, fmt.Errorf("%q has no closing brace", text)
		}
		items := slices.Sorted(strings.FieldsFuncSeq(inner, func(c rune) bool { return c == ',' || c == ' ' }))
		return Attribute{Type: Set, Set: &SetValue{Item: slices.Compact(items)}}, nil
	}
	if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
		return Attribute{Type: Scalar, Scalar: &ScalarValue{Value: v}}, nil
	}
	if text == "" {
		return Attribute{}, fmt.Errorf("a value is empty")
	}
	return Attribute{Type: Text, Text: &TextValue{Value: text}}, nil
}

func parseRanges(text string) ([]Range, error) {
	inner, ok := strings.CutSuffix(text[1:], "]")
	if !ok {
		return nil, fmt.Errorf("%q has no closing bracket", text)
	}
	var out []Range
	for part := range strings.SplitSeq(inner, ",") {
		from, to, ok := strings.Cut(strings.TrimSpace(part), "-")
		if !ok {
			to = from
		}
		begin, err := strconv.ParseUint(strings.TrimSpace(from), 10, 64)
		end, err2 := strconv.ParseUint(strings.TrimSpace(to), 10, 64)
		if err != nil || err2 != nil || end < begin {
			return nil, fmt.Errorf("%q is not a range such as 31000-32000", strings.TrimSpace(part))
		}
		out = append(out, Range{begin, end})
	}
	return joinRanges(out), nil
}

// FormatRanges writes ranges as Mesos does: [31000-31005, 31010-31010].
func FormatRanges(ranges []Range) string {
	parts := make([]string, len(ranges))
	for i, g := range ranges {
		parts[i] = strconv.FormatUint(g.Begin, 10) + "-" + strconv.FormatUint(g.End, 10)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// FormatScalar writes a scalar with no more decimals than it has.
func FormatScalar(v float64) string {
	return strconv.FormatFloat(float64(Milli(v))/1000, 'f', -1, 64)
}

// String writes resources as Mesos does: cpus:4; mem(role):8192; ports:[31000-32000].
func (rs Resources) String() string {
	parts := make([]string, len(rs))
	for i, r := range rs {
		parts[i] = r.String()
	}
	return strings.Join(parts, "; ")
}

// String writes a resource as in Resources.
func (r Resource) String() string {
	name := r.Name
	if role := r.ReservedFor(); role != DefaultRole {
		name += "(" + role + ")"
	}
	switch r.Type {
	case Scalar:
		return name + ":" + FormatScalar(r.scalar())
	case Ranges:
		return name + ":" + FormatRanges(r.ranges())
	default:
		return name + ":{" + strings.Join(r.items(), ", ") + "}"
	}
}

// String writes an attribute's value alone.
func (a Attribute) String() string {
	switch {
	case a.Scalar != nil:
		return FormatScalar(a.Scalar.Value)
	case a.Ranges != nil:
		return FormatRanges(a.Ranges.Range)
	case a.Set != nil:
		return "{" + strings.Join(a.Set.Item, ", ") + "}"
	case a.Text != nil:
		return a.Text.Value
	default:
		return ""
	}
}

// infinity is how a limit that limits nothing is written; JSON has no such number.
const infinity = "Infinity"

// MarshalJSON writes a limit; +Inf as "Infinity".
func (l Limit) MarshalJSON() ([]byte, error) {
	var v any = l.Value
	if math.IsInf(l.Value, 1) {
		v = infinity
	}
	return json.Marshal(map[string]any{"value": v})
}

// UnmarshalJSON reads a limit.
func (l *Limit) UnmarshalJSON(data []byte) error {
	var v struct {
		Value any `json:"value"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return fmt.Errorf("cannot read limit: %w", err)
	}
	switch v := v.Value.(type) {
	case float64:
		l.Value = v
	case string:
		if v != infinity {
			return fmt.Errorf("cannot read limit: %q is neither a number nor %q", v, infinity)
		}
		l.Value = math.Inf(1)
	default:
		return fmt.Errorf("cannot read limit: it has no value")
	}
	return nil
}
