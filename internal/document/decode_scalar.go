package document

import (
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// wrongType reports a value of the wrong kind, with the remedy where it can be guessed.
func (d *decoder) wrongType(n *Node, want string) {
	d.fail(n, fmt.Sprintf("is %s; %s is wanted", n.kind, want), remedy(n, want))
}

func remedy(n *Node, want string) string {
	switch {
	case n.kind == Null && n.plain == "":
		return "Give a value, or remove the key."
	case n.kind == Null:
		return "Give a value, or remove the key to use the default."
	case want == String.String() && (n.kind == Number || n.kind == Bool):
		return "Put it in quotes: " + quote(n.plain) + "."
	case want == Number.String() && n.kind == String:
		return numberRemedy(strings.TrimSpace(n.text))
	case want == Bool.String() && n.kind == String:
		switch strings.ToLower(n.text) {
		case "true", "yes", "on", "y":
			return "Write true, without quotes."
		case "false", "no", "off", "n":
			return "Write false, without quotes."
		}
		return "Write true or false."
	case want == Bool.String() && n.kind == Number:
		return "Write true or false."
	case want == List.String() && n.kind != Mapping:
		return "Put it in a list: [" + shown(n) + "]."
	case want == List.String():
		return "Put it in a list: [{...}], or with a dash in front in YAML."
	case n.kind == List && len(n.items) == 1:
		return "Give the value itself, without the list around it."
	}
	return ""
}

// numberRemedy says how to write what stands in quotes, or is text to YAML, as a number.
func numberRemedy(text string) string {
	if jsonNumber(text) {
		return "Write " + short(text) + " without quotes."
	}
	if digits := strings.TrimLeft(text, "0"); digits != text && jsonNumber(digits) {
		return "Write " + short(digits) + ", without leading zeros."
	}
	if digits := strings.NewReplacer("_", "", ",", "").Replace(text); jsonNumber(digits) {
		return "Write " + short(digits) + ", without separators."
	}
	return ""
}

// shown is a scalar as it would be written again.
func shown(n *Node) string {
	if n.kind == String {
		return quote(n.text)
	}
	return short(n.plain)
}

func (d *decoder) duration(n *Node, v reflect.Value) {
	if n.kind != String {
		detail := "Write a number with a unit: 200ms, 30s, 5m or 1h30m."
		if n.kind == Number && len(n.text) < 20 {
			detail = fmt.Sprintf("Write the unit: %sms, %ss or %sm.", n.text, n.text, n.text)
		}
		d.fail(n, fmt.Sprintf("is %s; a duration is wanted", n.kind), detail)
		return
	}
	t, err := time.ParseDuration(strings.TrimSpace(n.text))
	if err != nil {
		d.fail(n, quote(n.text)+" is not a duration", "Write a number with a unit: 200ms, 30s, 5m or 1h30m.")
		return
	}
	v.SetInt(int64(t))
}

// number decodes into the integer and float kinds.
func (d *decoder) number(n *Node, v reflect.Value) {
	switch v.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64:
	default:
		d.fail(n, "cannot be decoded into "+v.Type().String(), "This is a mistake in Howdah; please report it.")
		return
	}
	if n.kind != Number {
		d.wrongType(n, Number.String())
		return
	}
	if v.CanFloat() {
		f, err := strconv.ParseFloat(n.text, v.Type().Bits())
		if err != nil {
			d.fail(n, short(n.plain)+" is out of range", "")
			return
		}
		v.SetFloat(f)
		return
	}
	i, ok := integer(n.text)
	switch lowest, highest := bounds(v); {
	case !ok:
		d.fail(n, short(n.plain)+" has a fraction; a whole number is wanted", "")
	case i == nil || i.Cmp(lowest) < 0 || i.Cmp(highest) > 0:
		d.fail(n, short(n.plain)+" is out of range", fmt.Sprintf("Give a whole number from %s to %s.", lowest, highest))
	case v.CanInt():
		v.SetInt(i.Int64())
	default:
		v.SetUint(i.Uint64())
	}
}

// integer reads a JSON number without fraction; 1e3 and 2.0 count. Its result
// is nil for one with more digits than any Go integer has.
func integer(text string) (*big.Int, bool) {
	mantissa, exponent, hasExponent := strings.Cut(strings.ToLower(text), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(strings.TrimPrefix(whole+fraction, "-"), "0")
	if digits == "" {
		return new(big.Int), true
	}
	shift := 0
	if hasExponent {
		var err error
		if shift, err = strconv.Atoi(exponent); err != nil {
			return nil, !strings.HasPrefix(exponent, "-") // beyond any int: huge, or next to nothing
		}
	}
	digits, shift = strings.TrimRight(digits, "0"), shift-len(fraction)+len(digits)-len(strings.TrimRight(digits, "0"))
	if shift < 0 {
		return nil, false
	}
	if len(digits) > 40 || shift > 40 {
		return nil, true
	}
	i, ok := new(big.Int).SetString(digits+strings.Repeat("0", shift), 10)
	if ok && strings.HasPrefix(text, "-") {
		i.Neg(i)
	}
	return i, ok
}

// bounds returns the least and the greatest value an integer kind holds.
func bounds(v reflect.Value) (lowest, highest *big.Int) {
	bits := uint(v.Type().Bits())
	if v.CanInt() {
		return big.NewInt(math.MinInt64 >> (64 - bits)), big.NewInt(math.MaxInt64 >> (64 - bits))
	}
	return new(big.Int), new(big.Int).SetUint64(math.MaxUint64 >> (64 - bits))
}
