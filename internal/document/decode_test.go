package document

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/api"
)

type base struct {
	Name string `json:"name" doc:"What it is called" pattern:"^[a-z][a-z0-9-]*$" minLength:"2" example:"batch"`
}

type group struct {
	base
	Roles    []string        `json:"roles" enum:"worker,master" minItems:"1"`
	Num      int             `json:"instanceNum,omitempty" minimum:"1" maximum:"1000" default:"1"`
	Port     uint16          `json:"port,omitempty"`
	Memory   *int64          `json:"memoryMB,omitempty"`
	HA       bool            `json:"ha,omitempty"`
	Ratio    float64         `json:"ratio,omitempty"`
	Every    time.Duration   `json:"every,omitempty"`
	Conf     map[string]Text `json:"conf,omitempty"`
	Extra    any             `json:"extra,omitempty"`
	Address  netip.Addr      `json:"address,omitempty"`
	Exact    json.Number     `json:"exact,omitempty"`
	Own      own             `json:"own,omitempty"`
	Node     *Node           `json:"node,omitempty"`
	Hidden   string          `json:"-"`
	Pair     [2]int          `json:"pair,omitempty"`
	RawJSON  json.RawMessage `json:"rawJSON,omitempty"`
	internal string          //nolint:unused // decoding must leave it alone
}

// own accepts "a" or {a: …}.
type own struct {
	A string `json:"a"`
}

func (o *own) UnmarshalNode(n *Node) api.Diagnostics {
	if s, ok := n.StringValue(); ok {
		o.A = s
		return nil
	}
	type plain own
	return Decode(n, (*plain)(o))
}

// render writes findings the way the tables below do.
func render(ds api.Diagnostics) string {
	var b strings.Builder
	for _, d := range ds {
		b.WriteString(d.String() + "\n")
		if d.Detail != "" {
			b.WriteString("    " + d.Detail + "\n")
		}
	}
	return b.String()
}

func TestDecodeFindings(t *testing.T) {
	tests := []struct{ name, file, in, want string }{
		{"everything at once", "a.yaml", `nodeGroups:
  - name: 5
    rolse: [worker]
    instanceNum: "3"
    conf: {a: 1.10, c.d: [1]}
  - name:
    name: x
    instanceNum: 1.5
`, `a.yaml:2:11  error  nodeGroups[0].name: is a number; a string is wanted
    Put it in quotes: "5".
a.yaml:3:5  error  nodeGroups[0].rolse: unknown field; did you mean roles?
    Known here: name, roles, instanceNum, port, memoryMB, ha, ratio, every, conf, extra, address, exact, own, node, pair and rawJSON.
a.yaml:4:18  error  nodeGroups[0].instanceNum: is a string; a number is wanted
    Write 3 without quotes.
a.yaml:5:26  error  nodeGroups[0].conf["c.d"]: is a list; text is wanted
    Give the value itself, without the list around it.
a.yaml:7:5  error  nodeGroups[1].name: the key is given twice
    It stands on line 6 already; keep one of the two.
a.yaml:8:18  error  nodeGroups[1].instanceNum: 1.5 has a fraction; a whole number is wanted
`},
		{
			"scalars", "a.json", `{"nodeGroups": [{
  "name": true, "roles": "worker", "port": 65536, "memoryMB": 1e99,
  "ha": "yes", "ratio": 1e999, "every": 30, "address": "10.0.0", "exact": "1",
  "own": 5, "pair": [1], "conf": {"x": null}
}, 7, {"roles": null, "every": "30", "own": {"b": 1}, "instanceNum": -9223372036854775809}]}`,
			`a.json:2:11  error  nodeGroups[0].name: is a boolean; a string is wanted
    Put it in quotes: "true".
a.json:2:26  error  nodeGroups[0].roles: is a string; a list is wanted
    Put it in a list: ["worker"].
a.json:2:44  error  nodeGroups[0].port: 65536 is out of range
    Give a whole number from 0 to 65535.
a.json:2:63  error  nodeGroups[0].memoryMB: 1e99 is out of range
    Give a whole number from -9223372036854775808 to 9223372036854775807.
a.json:3:9  error  nodeGroups[0].ha: is a string; a boolean is wanted
    Write true, without quotes.
a.json:3:25  error  nodeGroups[0].ratio: 1e999 is out of range
a.json:3:41  error  nodeGroups[0].every: is a number; a duration is wanted
    Write the unit: 30ms, 30s or 30m.
a.json:3:56  error  nodeGroups[0].address: "10.0.0" is not valid: ParseAddr("10.0.0"): IPv4 address too short
a.json:3:75  error  nodeGroups[0].exact: is a string; a number is wanted
    Write 1 without quotes.
a.json:4:10  error  nodeGroups[0].own: is a number; a mapping is wanted
a.json:4:21  error  nodeGroups[0].pair: has 1 items; 2 are wanted
a.json:4:40  error  nodeGroups[0].conf.x: is null; text is wanted
    Give a value, or remove the key to use the default.
a.json:5:4  error  nodeGroups[1]: is a number; a mapping is wanted
a.json:5:32  error  nodeGroups[2].every: "30" is not a duration
    Write a number with a unit: 200ms, 30s, 5m or 1h30m.
a.json:5:46  error  nodeGroups[2].own.b: unknown field
    Known here: a.
a.json:5:70  error  nodeGroups[2].instanceNum: -9223372036854775809 is out of range
    Give a whole number from -9223372036854775808 to 9223372036854775807.
`,
		},
		{"root of a wrong kind", "-", "- a\n", "-:1:1  error  is a list; a mapping is wanted\n    Give the value itself, without the list around it.\n"},
		{"yaml octal", "a.yaml", "nodeGroups:\n- port: 022\n", "a.yaml:2:9  error  nodeGroups[0].port: is a string; a number is wanted\n    Write 22, without leading zeros.\n"},
		{"yaml separators", "a.yaml", "nodeGroups:\n- port: 1_000\n", "a.yaml:2:9  error  nodeGroups[0].port: is a string; a number is wanted\n    Write 1000, without separators.\n"},
		{"empty yaml value points at its key", "a.yaml", "nodeGroups:\n- port: 1\n  name:\n\n\n", "a.yaml:3:3  error  nodeGroups[0].name: is null; a string is wanted\n    Give a value, or remove the key.\n"},
		{"mapping for a list", "a.yaml", "nodeGroups:\n  name: x\n", "a.yaml:2:3  error  nodeGroups: is a mapping; a list is wanted\n    Put it in a list: [{...}], or with a dash in front in YAML.\n"},
		{"terminal escapes in keys", "a.json", `{"a\u001b[2J": 1}`, "a.json:1:2  error  [\"a\\x1b[2J\"]: unknown field\n    Known here: nodeGroups.\n"},
		{"duplicate in a part nothing decodes", "a.json", "{\"x\": {\"a\": 1,\n\"a\": 2}}", "a.json:1:2  error  x: unknown field\n    Known here: nodeGroups.\na.json:2:1  error  x.a: the key is given twice\n    It stands on line 1 already; keep one of the two.\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc, ds := Parse(tt.file, []byte(tt.in))
			if len(ds) > 0 {
				t.Fatal(ds)
			}
			var into struct {
				Groups []group `json:"nodeGroups"`
			}
			if diff := cmp.Diff(tt.want, render(Decode(doc.Roots()[0], &into))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeValues(t *testing.T) {
	for _, file := range []string{"a.yaml", "a.json"} {
		doc, ds := Parse(file, []byte(`{"name": "a", "roles": ["x", "y"], "instanceNum": 2e0, "port": 65535, "memoryMB": 9007199254740993,
			"ha": true, "ratio": 0.1, "every": "200ms", "conf": {"s": "x", "n": 1.10, "b": false}, "extra": {"big": 123456789012345678901234567890},
			"address": "10.0.0.1", "exact": 1.000, "own": "o", "node": [1], "pair": [1, 2], "rawJSON": {"q": 1}}`))
		if len(ds) > 0 {
			t.Fatal(ds)
		}
		g := group{Hidden: "kept"}
		if ds := Decode(doc.Roots()[0], &g); len(ds) > 0 {
			t.Fatal(ds)
		}
		memory := int64(9007199254740993)
		want := group{
			base: base{"a"}, Roles: []string{"x", "y"}, Num: 2, Port: 65535, Memory: &memory, HA: true, Ratio: 0.1,
			Every: 200 * time.Millisecond, Conf: map[string]Text{"s": "x", "n": "1.10", "b": "false"},
			Extra:   map[string]any{"big": json.Number("123456789012345678901234567890")},
			Address: netip.MustParseAddr("10.0.0.1"), Exact: "1.000", Own: own{"o"}, Hidden: "kept", Pair: [2]int{1, 2}, RawJSON: json.RawMessage(`{"q":1}`),
		}
		node := g.Node
		g.Node = nil
		if diff := cmp.Diff(want, g, cmp.AllowUnexported(group{}, base{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Error(file, diff)
		}
		if got := node.At(0).Address(); got != "node[0]" {
			t.Error(got)
		}
	}
}

func TestNullEmptiesWhatCanBeNil(t *testing.T) {
	type T struct {
		P *int           `json:"p"`
		M map[string]int `json:"m"`
		S []int          `json:"s"`
		A any            `json:"a"`
	}
	one := 1
	v := T{P: &one, M: map[string]int{"x": 1}, S: []int{1}, A: 1}
	doc, _ := Parse("a.yaml", []byte("p: null\nm: ~\ns:\na:\n"))
	if ds := Decode(doc.Roots()[0], &v); len(ds) > 0 {
		t.Fatal(ds)
	}
	if diff := cmp.Diff(T{}, v); diff != "" {
		t.Error(diff)
	}
}

func TestEmbeddedFields(t *testing.T) {
	type Deep struct {
		X string `json:"x"`
		Y string `json:"y"`
	}
	type Mid struct{ *Deep }
	type T struct {
		Mid
		X int `json:"x"` // shadows Deep's
	}
	doc, _ := Parse("a.yaml", []byte("x: 1\ny: z\n"))
	var v T
	if ds := Decode(doc.Roots()[0], &v); len(ds) > 0 {
		t.Fatal(ds)
	}
	if v.X != 1 || v.Deep == nil || v.Y != "z" {
		t.Errorf("%+v", v)
	}
}

func TestFindingsAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "k%d: 1\n", i)
	}
	doc, _ := Parse("a.yaml", []byte(b.String()))
	ds := Decode(doc.Roots()[0], &struct{}{})
	if len(ds) != maxFindings+1 || ds[maxFindings].Summary != "800 more findings are not shown" || !ds[maxFindings:].HasErrors() {
		t.Error(len(ds), ds[len(ds)-1])
	}
}

func TestMistakesOfTheProgrammer(t *testing.T) {
	doc, _ := Parse("a.json", []byte("{}"))
	for want, into := range map[string]any{
		"cannot be decoded into int":         1,
		"cannot be decoded into chan int":    new(chan int),
		"cannot be decoded into map[int]int": &map[int]int{},
		"cannot be decoded into error":       new(error),
	} {
		if ds := Decode(doc.Roots()[0], into); len(ds) != 1 || ds[0].Summary != want {
			t.Errorf("%q: %v", want, ds)
		}
	}
	if ds := Decode(nil, new(int)); len(ds) != 1 || ds[0].Summary != "is missing" {
		t.Error(ds)
	}
}

func TestInteger(t *testing.T) {
	for text, want := range map[string]string{
		"0": "0", "-0": "0", "1.0": "1", "1e3": "1000", "1.50e1": "15", "100e-2": "1", "-12": "-12", "0e99999999999999999999": "0",
		"1.5": "fraction", "1e-1": "fraction", "1e-99999999999999999999": "fraction", "1e99999999999999999999": "huge", "1e50": "huge",
	} {
		got := "fraction"
		if i, ok := integer(text); ok && i == nil {
			got = "huge"
		} else if ok {
			got = i.String()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
