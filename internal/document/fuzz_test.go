package document

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"howdah.dev/howdah/api"
)

// jsonAccepts returns what encoding/json reads, numbers exact.
func jsonAccepts(data []byte) (any, bool) {
	if !json.Valid(data) {
		return nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	return v, dec.Decode(&v) == nil
}

// within fails when a position points outside of the file.
func within(t *testing.T, data []byte, pos api.Position) {
	t.Helper()
	lines := bytes.Split(data, []byte("\n"))
	if pos.Line < 1 || pos.Line > len(lines) || pos.Column < 1 || pos.Column > len(lines[pos.Line-1])+1 {
		t.Fatalf("%d:%d is outside of %q", pos.Line, pos.Column, data)
	}
}

func checkTree(t *testing.T, data []byte, n *Node) {
	t.Helper()
	within(t, data, n.Position())
	within(t, data, n.KeyPosition())
	for i, it := range n.Items() {
		step := any(i)
		if n.Kind() == Mapping {
			step = it.Key()
		}
		if n.At(step) != it || it.Parent() != n {
			t.Fatalf("%s is not found again", it.Address())
		}
		checkTree(t, data, it)
	}
}

func checkParse(t *testing.T, file string, data []byte) {
	t.Helper()
	doc, ds := Parse(file, data)
	if doc == nil || len(doc.Roots()) == 0 && !ds.HasErrors() {
		t.Fatalf("%q: neither a root nor an error", data)
	}
	for _, r := range doc.Roots() {
		checkTree(t, data, r)
		var into struct {
			Groups []group `json:"nodeGroups"`
			A      group   `json:"a"`
		}
		ds = append(ds, Decode(r, &into)...)
		ds = append(ds, Check(r, into)...)
	}
	for _, d := range ds {
		if d.Source == nil {
			if d.Detail != "Correct those above and try again." {
				t.Fatalf("%q: %v has no place", data, d)
			}
			continue
		}
		within(t, data, *d.Source)
		ExcerptOf(data, *d.Source)
		if d.Summary == "" || !utf8.ValidString(d.String()) {
			t.Fatalf("%q: a bad text %q", data, d)
		}
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,"x\ud83d\ude00\ud83d",true,null]}`, "[1,2,] // x", "/* */ {\"a\" 1}", "\ufeff[]", `{"nodeGroups":[{"name":"a","roles":["worker"],"port":70000,"every":"1s"}]}`, "[\"\xff\"]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		checkParse(t, "a.json", data)
		want, ok := jsonAccepts(data)
		if !ok {
			return
		}
		doc, ds := Limits{Depth: 20000}.Parse("a.json", data)
		if ds.HasErrors() || len(doc.Roots()) != 1 {
			t.Fatalf("%q: %v", data, ds)
		}
		if got := doc.Roots()[0].Raw(); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %s", data, cmp.Diff(want, got))
		}
	})
}

func FuzzYAML(f *testing.F) {
	for _, s := range []string{"a: &x {b: 1}\nc: *x\n<<: *x\n", "---\na: 1\n---\n- b\n", "a: |\n  x\n\tb\n", "é: \"\\ud83d\"\n", "{a: 1, \"b\": [}", "a:\r\n- b\u2028- c\n", "a: !!int x\n? [b]\n: c", "nodeGroups:\n- name: 5\n  roles: [x]\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		checkParse(t, "a.yaml", data)
		checkParse(t, "-", data)
	})
}

// value draws a JSON value.
func value(depth int) *rapid.Generator[any] {
	text := rapid.Map(rapid.String(), func(s string) any { return s })
	number := rapid.OneOf(
		rapid.Map(rapid.Int64(), func(i int64) any { return i }),
		rapid.Map(rapid.Float64(), func(x float64) any { return x }),
		rapid.Map(rapid.StringMatching(`-?[1-9][0-9]{0,40}(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,4})?`), func(s string) any { return json.Number(s) }))
	kinds := []*rapid.Generator[any]{text, number, rapid.Just[any](nil), rapid.Map(rapid.Bool(), func(b bool) any { return b })}
	if depth > 0 {
		kinds = append(kinds,
			rapid.Map(rapid.SliceOfN(rapid.Deferred(func() *rapid.Generator[any] { return value(depth - 1) }), 0, 20), func(l []any) any { return l }),
			rapid.Map(rapid.MapOfN(rapid.String(), rapid.Deferred(func() *rapid.Generator[any] { return value(depth - 1) }), 0, 20), func(m map[string]any) any { return m }))
	}
	return rapid.OneOf(kinds...)
}

func TestEncodedJSONReadsBackEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data, err := json.MarshalIndent(map[string]any{"v": value(3).Draw(t, "value")}, "", rapid.SampledFrom([]string{"", " ", "\t"}).Draw(t, "indent"))
		if err != nil {
			t.Fatal(err)
		}
		want, _ := jsonAccepts(data)
		for _, file := range []string{"a.json", "a.yaml", "-"} {
			doc, ds := Parse(file, data)
			if len(ds) > 0 || len(doc.Roots()) != 1 {
				t.Fatalf("%q: %v", data, ds)
			}
			if got := doc.Roots()[0].Raw(); !reflect.DeepEqual(got, want) {
				t.Fatalf("%q: %s", data, cmp.Diff(want, got))
			}
			var decoded any
			if ds := Decode(doc.Roots()[0], &decoded); len(ds) > 0 || !reflect.DeepEqual(decoded, want) {
				t.Fatalf("%q: %v", data, ds)
			}
		}
	})
}
