package document

import (
	"testing"
)

func TestSmoke(t *testing.T) {
	type G struct {
		Name  string          `json:"name"`
		Roles []string        `json:"roles"`
		Num   int             `json:"instanceNum"`
		Conf  map[string]Text `json:"conf,omitempty"`
	}
	type D struct {
		Groups []G `json:"nodeGroups"`
	}
	doc, ds := Parse("a.yaml", []byte("nodeGroups:\n  - name: 5\n    rolse: [a]\n    instanceNum: \"3\"\n    conf: {a: 1.10, b: yes, c.d: [1]}\n  - name:\n    name: x\n    instanceNum: 1.5\n"))
	t.Log(ds)
	var d D
	for _, x := range Decode(doc.Roots()[0], &d) {
		t.Log(x, " -- ", x.Detail)
		t.Log("\n" + Excerpt(doc, *x.Source))
	}
	t.Log(d)
	for _, s := range []string{"a: 1\n b: 2\n", "x: 1\na: b: c\n", "a:\n\tb: 1\n", "a: [1,\n\nb: 3\n", "x: 1\na: \"x\nb: 3\n", "q: 1\na: *q\n", "- a\n- b\nb: 1\n", "a: \xff\n", "a: 1\nb:\n  c: 1\n d: 4\ne: 5\n", "a: 1\nfoo\nb: 3\nc: 3\n", "a: {b: 1\nc: 2\nd: 4\n", "a: 1\n---\nb: {{x}}\n", "z: 0\na: \"\\q\"\nb: 3\n", "a: 1\n- b\nc: 3\n", "a: 1\nb: ${x}: y\n", "a:\n- x\n- {a: ${foo}}\nb: 3\nc: 4\n", "a: 1\nb: %x\nc: 3\n"} {
		doc, ds := Parse("b.yaml", []byte(s))
		t.Logf("%q", s)
		for _, x := range ds {
			t.Log(x, " -- ", x.Detail)
			t.Log("\n" + Excerpt(doc, *x.Source))
		}
	}
	for _, s := range []string{"{", "{\"a\":1 \"b\":2}", "[1 2]", "{'a':1}", "{a:1}", "{\"a\":True}", "{\"a\":\"x\n\"}", "[1,]]", "[1}", "{\"a\":01}", "{\"a\" 1}", "[,1]", "{\"a\":1,,}", "{\"a\": \"\\ud83d\\ude00\\ud83d\"} //x", "[1 /* x"} {
		doc, ds := Parse("b.json", []byte(s))
		t.Logf("%q", s)
		for _, x := range ds {
			t.Log(x, " -- ", x.Detail)
		}
		for _, r := range doc.Roots() {
			t.Logf("%q", r.Raw())
		}
	}
}
