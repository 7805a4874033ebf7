package match

import (
	"math/big"
	"strconv"
	"strings"

	"howdah.dev/howdah/internal/cell/mesos"
)

// The fields of constraints that are not attributes.
const (
	fieldRegion = "@region"
	fieldZone   = "@zone"
)

func isHost(field string) bool { return field == "hostname" || field == "@hostname" }

// value is what a worker has in a constraint's field.
type value struct {
	ok     bool // it has it
	text   string
	scalar *float64 // when it is a number
	single bool     // a number or a text, not ranges or a set
	group  int      // place of the value among those of its rule; -1: not counted
}

// value reads the rule's field of a worker or instance.
func (r *rule) value(host, region, zone string, attributes []mesos.Attribute) value {
	var v value
	switch {
	case isHost(r.field):
		v = textValue(host)
	case r.field == fieldRegion:
		v = textValue(region)
	case r.field == fieldZone:
		v = textValue(zone)
	default:
		v = attributeValue(r.field, attributes)
	}
	v.group = -1
	if v.ok && r.counts() {
		v.group = r.group(v.text)
	}
	return v
}

func (r *rule) group(text string) int {
	g, known := r.groups[text]
	if !known {
		g = len(r.count)
		r.groups[text] = g
		r.count = append(r.count, 0)
	}
	return g
}

func textValue(s string) value { return value{ok: s != "", text: s, single: true} }

func attributeValue(name string, attributes []mesos.Attribute) value {
	for _, a := range attributes {
		if a.Name != name {
			continue
		}
		switch {
		case a.Text != nil:
			return value{ok: true, text: a.Text.Value, single: true}
		case a.Scalar != nil:
			return value{ok: true, text: strconv.FormatFloat(a.Scalar.Value, 'f', -1, 64), scalar: &a.Scalar.Value, single: true}
		case a.Ranges != nil:
			return value{ok: true, text: rangesText(a.Ranges.Range)}
		case a.Set != nil:
			return value{ok: true, text: "{" + strings.Join(a.Set.Item, ",") + "}"}
		}
	}
	return value{}
}

// rangesText writes ranges as Mesos does: [1-2,5-6].
func rangesText(ranges []mesos.Range) string {
	parts := make([]string, len(ranges))
	for n, g := range ranges {
		parts[n] = strconv.FormatUint(g.Begin, 10) + "-" + strconv.FormatUint(g.End, 10)
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// is compares texts, or numbers to three decimals.
func (v value) is(wanted string) bool {
	if !v.single {
		return false
	}
	if v.scalar == nil {
		return v.text == wanted
	}
	a, ok := thousandths(v.text)
	b, ok2 := thousandths(wanted)
	return ok && ok2 && a.Cmp(b) == 0
}

// thousandths reads a decimal number and rounds it half to even.
func thousandths(text string) (*big.Int, bool) {
	const longest = 40 // an exponent could make a number of any size
	if len(text) > longest || strings.ContainsAny(text, "eEpPxX_/") {
		return nil, false
	}
	x, ok := new(big.Rat).SetString(text)
	if !ok {
		return nil, false
	}
	x.Mul(x, big.NewRat(1000, 1))
	whole, rest := new(big.Int).DivMod(x.Num(), x.Denom(), new(big.Int)) // rest is not negative
	switch rest.Lsh(rest, 1).Cmp(x.Denom()) {
	case 1:
		whole.Add(whole, big.NewInt(1))
	case 0:
		whole.Add(whole, big.NewInt(int64(whole.Bit(0))))
	}
	return whole, true
}
