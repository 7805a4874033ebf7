package mesos

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func resources(t testing.TB, text string) Resources {
	t.Helper()
	r, err := ParseResources(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestParseResources(t *testing.T) {
	for _, c := range []struct{ text, want, err string }{
		{text: "", want: ""},
		{text: "cpus:4;mem:8192;disk:100000;ports:[31000-32000]", want: "cpus:4; mem:8192; disk:100000; ports:[31000-32000]"},
		{text: " cpus : 0.1 ; cpus(*):0.2;\nports(slave_public):[80,443, 8080-8085,8086-8090]", want: "cpus:0.3; ports(slave_public):[80-80, 443-443, 8080-8090]"},
		{text: "disks:{b, a,b}", want: "disks:{a, b}"},
		{text: "cpus:0", want: ""},
		{text: "cpus", err: `cannot read resources "cpus": "cpus" is not name:value`},
		{text: "cpus:many", err: `cannot read resources "cpus:many": "many" is not a number, [ranges] or {set}`},
		{text: "cpus:", err: `cannot read resources "cpus:": a value is empty`},
		{text: "cpus:-1", err: `cannot read resources "cpus:-1": resource 'cpus' must be a number from 0 to 1000000000000`},
		{text: "cpus(:1", err: `cannot read resources "cpus(:1": "cpus(" is not name(role)`},
		{text: "ports:[31000-32000", err: `cannot read resources "ports:[31000-32000": "[31000-32000" has no closing bracket`},
		{text: "ports:[9-1]", err: `cannot read resources "ports:[9-1]": "9-1" is not a range such as 31000-32000`},
	} {
		got, err := ParseResources(c.text)
		if message(err) != c.err {
			t.Errorf("%q: error %q, want %q", c.text, message(err), c.err)
		}
		if got.String() != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestParseAttributes(t *testing.T) {
	got, err := ParseAttributes("rack:r1;zone: eu west;size:3.5;slots:[1-2];tags:{b,a}")
	if err != nil {
		t.Fatal(err)
	}
	want := []Attribute{
		{Name: "rack", Type: Text, Text: &TextValue{"r1"}},
		{Name: "zone", Type: Text, Text: &TextValue{"eu west"}},
		{Name: "size", Type: Scalar, Scalar: &ScalarValue{3.5}},
		{Name: "slots", Type: Ranges, Ranges: &RangesValue{[]Range{{1, 2}}}},
		{Name: "tags", Type: Set, Set: &SetValue{[]string{"a", "b"}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := ParseAttributes("rack"); message(err) != `cannot read attributes "rack": "rack" is not name:value` {
		t.Error(err)
	}
}

func TestArithmetic(t *testing.T) {
	for _, c := range []struct{ have, want, left string }{
		{"cpus:4;mem:100", "cpus:1.1", "cpus:2.9; mem:100"},
		{"cpus:0.3", "cpus:0.1", "cpus:0.2"},
		{"cpus:1", "cpus:1", ""},
		{"ports:[1-10]", "ports:[3-4,10]", "ports:[1-2, 5-9]"},
		{"ports:[1-10,20-30]", "ports:[1,20,30]", "ports:[2-10, 21-29]"},
		{"cpus:1;cpus(a):2", "cpus(a):2", "cpus:1"},
		{"disks:{a,b}", "disks:{a}", "disks:{b}"},
	} {
		have, want := resources(t, c.have), resources(t, c.want)
		if !have.Contains(want) {
			t.Errorf("%s does not contain %s", c.have, c.want)
		}
		left := have.Subtract(want)
		if left.String() != c.left {
			t.Errorf("%s - %s = %s, want %s", c.have, c.want, left, c.left)
		}
		if back := left.Add(want); !back.Contains(have) || !have.Contains(back) {
			t.Errorf("%s - %s + %s = %s", c.have, c.want, c.want, back)
		}
		if have.String() != resources(t, c.have).String() {
			t.Errorf("%s was changed to %s", c.have, have)
		}
	}
}

func TestContainsNot(t *testing.T) {
	for _, c := range []struct{ have, want string }{
		{"cpus:1", "cpus:1.001"},
		{"cpus:1", "cpus(a):1"},
		{"cpus(a):1", "cpus:1"},
		{"cpus(a):1", "cpus(b):1"},
		{"ports:[1-5]", "ports:[5-6]"},
		{"cpus:1", "gpus:1"},
		{"disks:{a}", "disks:{b}"},
	} {
		if resources(t, c.have).Contains(resources(t, c.want)) {
			t.Errorf("%s contains %s", c.have, c.want)
		}
	}
	twice := Resources{NewScalar("cpus", 1), NewScalar("cpus", 1)}
	if resources(t, "cpus:1").Contains(twice) {
		t.Error("the same amount was counted once that was asked for twice")
	}
}

func TestForms(t *testing.T) {
	plain := resources(t, "cpus:1;mem(a):2")
	refined := plain.Refined()
	if diff := cmp.Diff([]Reservation{{Type: "STATIC", Role: "a"}}, refined[1].Reservations); diff != "" || refined[1].Role != "" {
		t.Errorf("refined: %+v", refined)
	}
	if !plain.Contains(refined) || !refined.Contains(plain) {
		t.Error("the two forms are not equal")
	}
	legacy := refined.Legacy()
	if legacy[0].Role != "*" || legacy[1].Role != "a" || legacy[1].Reservations != nil {
		t.Errorf("legacy: %+v", legacy)
	}
	if !plain.Contains(legacy) || !legacy.Contains(plain) {
		t.Error("the legacy form is not equal")
	}
	nested := Resources{{Name: "cpus", Type: Scalar, Scalar: &ScalarValue{1}, Reservations: []Reservation{{Role: "a"}, {Role: "a/b"}}}}
	if len(nested.Legacy()) != 0 {
		t.Error("the legacy form cannot say a refined reservation")
	}
	if nested.Contains(resources(t, "cpus(a):1")) {
		t.Error("a refined reservation was taken for another")
	}
	allocated := plain.Allocate("x")
	if allocated.Contains(plain) || !allocated.Allocate("").Contains(plain) || plain[0].AllocationInfo != nil {
		t.Error("allocations are not kept apart")
	}
	if got := resources(t, "cpus:1;cpus(a):2;cpus(a/b):4;cpus(ab):8").For("a/b").Scalar("cpus"); got != 7 {
		t.Errorf("a/b may have %v cpus, want 7", got)
	}
}

func TestValidate(t *testing.T) {
	one := &ScalarValue{1}
	for _, c := range []struct {
		r    Resource
		want string
	}{
		{Resource{Type: Scalar, Scalar: one}, "a resource has no name"},
		{Resource{Name: "x", Type: Ranges, Scalar: one}, "resource 'x' has type 'RANGES' but no value of that type"},
		{Resource{Name: "x", Type: "BAG", Scalar: one}, "resource 'x' has type 'BAG' but no value of that type"},
		{NewScalar("x", math.NaN()), "resource 'x' must be a number from 0 to 1000000000000"},
		{NewScalar("x", math.Inf(1)), "resource 'x' must be a number from 0 to 1000000000000"},
		{NewRanges("x", Range{2, 1}), "resource 'x' has the range [2-1], whose end is before its begin"},
		{NewRanges("x", make([]Range, maxRanges+1)...), "resource 'x' has more than 10000 ranges"},
		{Resource{Name: "x", Type: Scalar, Scalar: one, Role: "a", Reservations: []Reservation{{Role: "a"}}}, "resource 'x' has both a role and reservations"},
	} {
		if got := message(Resources{c.r}.Validate()); got != c.want {
			t.Errorf("%+v: %q, want %q", c.r, got, c.want)
		}
	}
}

func TestLenientJSON(t *testing.T) {
	const text = `{"framework_id":null,"type":"SUBSCRIBE","accept":null,"subscribe":{"framework_info":{"user":"u","name":"n","id":null,"capabilities":null,"failover_timeout":null,"unknown":[1,2]}}}`
	var call Call
	if err := json.Unmarshal([]byte(text), &call); err != nil {
		t.Fatal(err)
	}
	want := Call{Type: CallSubscribe, Subscribe: &Subscribe{FrameworkInfo: FrameworkInfo{User: "u", Name: "n"}}}
	if diff := cmp.Diff(want, call); diff != "" {
		t.Error(diff)
	}
	var limits map[string]Limit
	const limitText = `{"cpus":{"value":"Infinity"},"mem":{"value":64.5}}`
	if err := json.Unmarshal([]byte(limitText), &limits); err != nil {
		t.Fatal(err)
	}
	if !math.IsInf(limits["cpus"].Value, 1) || limits["mem"].Value != 64.5 {
		t.Error(limits)
	}
	if got, err := json.Marshal(limits); err != nil || string(got) != limitText {
		t.Error(string(got), err)
	}
	if err := json.Unmarshal([]byte(`{"value":"lots"}`), new(Limit)); message(err) != `cannot read limit: "lots" is neither a number nor "Infinity"` {
		t.Error(err)
	}
}

// drawn makes resources of few names and roles, so that they often meet.
func drawn() *rapid.Generator[Resources] {
	return rapid.Custom(func(t *rapid.T) Resources {
		var rs Resources
		for range rapid.IntRange(0, 5).Draw(t, "n") {
			r := NewScalar(rapid.SampledFrom([]string{"cpus", "mem"}).Draw(t, "name"), float64(rapid.IntRange(0, 9999).Draw(t, "milli"))/1000)
			if rapid.Bool().Draw(t, "ports") {
				begin := rapid.Uint64Range(0, 30).Draw(t, "begin")
				if rapid.IntRange(0, 9).Draw(t, "top") == 0 {
					begin = math.MaxUint64 - begin
				}
				end := begin + min(rapid.Uint64Range(0, 9).Draw(t, "length"), math.MaxUint64-begin)
				r = NewRanges("ports", Range{begin, end})
			}
			switch rapid.IntRange(0, 2).Draw(t, "role") {
			case 1:
				r.Role = "a"
			case 2:
				r.Reservations = []Reservation{{Role: "a"}}
			}
			rs = append(rs, r)
		}
		return rs
	})
}

func equal(a, b Resources) bool { return a.Contains(b) && b.Contains(a) }

func TestResourceLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawn().Draw(t, "a"), drawn().Draw(t, "b")
		ranges := func(rs Resources) Resources { return rs.Where(func(r Resource) bool { return r.Type == Ranges }) }
		scalars := func(rs Resources) Resources { return rs.Where(func(r Resource) bool { return r.Type == Scalar }) }
		if sum := a.Add(b); !equal(sum, b.Add(a)) || !sum.Contains(a) || !sum.Contains(b) {
			t.Fatalf("%v + %v = %v", a, b, sum)
		}
		if left := scalars(a).Add(scalars(b)).Subtract(scalars(b)); !equal(left, scalars(a)) {
			t.Fatalf("%v + %v - same = %v", a, b, left)
		}
		if sum := Sum(a, b); !equal(sum, a.Add(b)) {
			t.Fatalf("sum of %v and %v is %v", a, b, sum)
		}
		if a.Contains(b) && !equal(a.Subtract(b).Add(b), a) {
			t.Fatalf("%v - %v + same is not the first", a, b)
		}
		if left := a.Subtract(b); !a.Contains(left) || !ranges(left).Empty() && ranges(b).Contains(ranges(left)) {
			t.Fatalf("%v - %v = %v", a, b, left)
		}
		if !equal(a.Refined(), a) || !equal(a.Refined().Legacy(), a) {
			t.Fatalf("forms of %v", a)
		}
	})
}
