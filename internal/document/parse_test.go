package document

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseFindings(t *testing.T) {
	tests := []struct{ file, in, want string }{
		{"a.json", "", "a.json:1:1  error  the file is empty\n    Give a JSON or YAML document.\n"},
		{"a.yaml", "\ufeff \n", "a.yaml:1:1  error  the file is empty\n    Give a JSON or YAML document.\n"},
		{"a.yaml", "# c\n---\n---\n", "a.yaml:1:1  error  the file holds no document, only comments or separators\n    Give a JSON or YAML document.\n"},
		{"a.json", "\xff\xfe{\x00}\x00", "a.json:1:1  error  the file is UTF-16 text\n    Save it as UTF-8.\n"},
		{"a.json", "{\x00}", "a.json:1:2  error  the file is not text: it holds a zero byte\n    Give a JSON or YAML file in UTF-8.\n"},

		{"a.json", "{", "a.json:1:1  error  this { is not closed\n    Add } where it ends.\n"},
		{"a.json", "{\"a\":1 \"b\":2\n\"c\":3}", "a.json:1:7  error  a comma is missing here\n    Separate values by commas.\na.json:1:13  error  a comma is missing here\n    Separate values by commas.\n"},
		{"a.json", "[1 2]", "a.json:1:3  error  a comma is missing here\n    Separate values by commas.\n"},
		{"a.json", "[1 x]", "a.json:1:4  error  unexpected x where a comma or ] is wanted\n"},
		{"a.json", "{'a':1}", "a.json:1:2  error  unexpected ' where a key is wanted\n    Write the key in double quotes.\n"},
		{"a.json", "{a:1}", "a.json:1:2  error  unexpected a where a key is wanted\n    Write the key in double quotes.\n"},
		{"a.json", "[\u00a01]", "a.json:1:2  error  unexpected character U+00A0 where a value is wanted\n"},
		{"a.json", "['a']", "a.json:1:2  error  unexpected ' where a value is wanted\n    JSON strings stand in double quotes.\n"},
		{"a.json", "{\"a\":True}", "a.json:1:6  error  \"True\" is not a JSON value\n    Write true, or put text in double quotes.\n"},
		{"a.json", "[NaN]", "a.json:1:2  error  \"NaN\" is not a JSON value\n    Put text in double quotes.\n"},
		{"a.json", "{\"a\":\"x\n\"}", "a.json:1:6  error  this string is not closed on its line\n    Add the closing quote; a line break inside text is written \\n.\n"},
		{"a.json", "[\"x", "a.json:1:2  error  this string is not closed\n    Add the closing quote.\n"},
		{"a.json", "[\"x\\", "a.json:1:2  error  this string is not closed\n    Add the closing quote.\n"},
		{"a.json", "[\"\x01\"]", "a.json:1:3  error  control character U+0001 inside a string\n    Write it as \\u0001.\n"},
		{"a.json", `["C:\data"]`, "a.json:1:5  error  this escape is unknown\n    Known are \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\u with four hexadecimal digits; a backslash itself is written \\\\.\n"},
		{"a.json", "[1]]", "a.json:1:4  error  unexpected ] after the end of the document\n    A JSON file holds one value; look for a bracket closed too early.\n"},
		{"a.json", "[1}", "a.json:1:3  error  } closes a [\n    Write ], or close what was opened in between.\n"},
		{"a.json", "{\"a\":01}", "a.json:1:6  error  \"01\" is not a JSON number\n    Write 1 without leading zeros, or \"01\" for text.\n"},
		{"a.json", "{\"a\":1.}", "a.json:1:6  error  \"1.\" is not a JSON number\n    Write numbers like 12, -3.5 or 1e6; put other text in double quotes.\n"},
		{"a.json", "{\"a\" 1}", "a.json:1:6  error  a colon is missing after the key \"a\"\n    Write \"a\": and then the value.\n"},
		{"a.json", "{\"a\":", "a.json:1:6  error  the file ends where a value is wanted\n"},
		{"a.json", "[,1]", "a.json:1:2  error  a comma stands where a value is wanted\n    Remove it.\n"},
		{"a.json", "[1 /* x", "a.json:1:4  error  this comment is not closed\n    Add */ where it ends.\n"},
		{"a.json", "[\"\xff\"]", "a.json:1:3  warning  byte 0xff is not UTF-8; it is read as \ufffd\n    Save the file as UTF-8.\n"},

		{"a.yaml", "a: b: c\n", "a.yaml:1:1  error  a key with a colon is not possible here\n    Check the indentation of this line and the one above; text that holds \": \" must be quoted.\n"},
		{"a.yaml", "a: 1\n b: 2\n", "a.yaml:2:2  error  a key with a colon is not possible here\n    Check the indentation of this line and the one above; text that holds \": \" must be quoted.\n"},
		{"a.yaml", "a:\n\tb: 1\n", "a.yaml:2:2  error  this character cannot start a value\n    Indent by spaces, not tabs; quote text that starts with @, ` or %.\n"},
		{"a.yaml", "x: 1\na: \"x\nb: 3\n", "a.yaml:2:1  error  this quote is not closed\n    Add the closing quote.\n"},
		{"a.yaml", "a: \"x\nb: 3\n", "a.yaml:1:1  error  this quote is not closed\n    Add the closing quote.\n"},
		{"a.yaml", "q: 1\na: *q\n", "a.yaml:2:1  error  the alias *q refers to no anchor above it\n    Mark the value with &q, or quote text that starts with *.\n"},
		{"a.yaml", "- a\n- b\nb: 1\n", "a.yaml:3:1  error  a list item (-) is wanted here\n    Check the indentation of this line.\n"},
		{"a.yaml", "a: \xff\n", "a.yaml:1:4  error  the file is not UTF-8 here\n    Save it as UTF-8.\n"},
		{"a.yaml", "a: 1\nb: \x01\n", "a.yaml:2:4  error  the file holds a control character\n    Remove it, or write it as an escape in double quotes.\n"},
		{"a.yaml", "a: 1\nb:\n  c: 1\n d: 4\ne: 5\n", "a.yaml:4:2  error  a key is wanted here\n    Check the indentation and the quotes of this line and the one above.\n"},
		{"a.yaml", "a: 1\nfoo\nb: 3\nc: 3\n", "a.yaml:2:1  error  a colon is missing after this key\n    Write key: value, with a space after the colon.\n"},
		{"a.yaml", "x: 0\na: {b: 1\nc: 2\nd: 4\n", "a.yaml:2:1  error  a comma or } is missing\n    Close the mapping that was opened with {; text such as ${name} or {{name}} inside one must be quoted.\n"},
		{"a.yaml", "a: 1\n---\nb: {{x}}\n", "a.yaml:3:5  error  a list or a mapping stands where a key is wanted\n    Write a plain word as key. Text such as {{ name }} must be quoted.\n"},
		{"a.yaml", "a: !secret x\nb: !!int x\n", "a.yaml:1:4  error  the YAML tag !secret is not supported\n    Remove the tag; put text that starts with ! in quotes.\na.yaml:2:4  error  \"x\" is not a number, as its tag !!int says\n    Remove the tag.\n"},
		{"a.yaml", "a: &a [*a]\n", "a.yaml:1:8  error  the alias *a stands inside what it refers to\n    Write the value out.\n"},
		{"a.yaml", "<<: 1\n", "a.yaml:1:5  error  only a mapping can be merged with <<\n    Write <<: *name, where &name marks a mapping.\n"},
		{"a.yaml", "?\n: 1\n", "a.yaml:1:2  error  a key is missing before the colon\n"},
	}
	for _, tt := range tests {
		_, ds := Parse(tt.file, []byte(tt.in))
		if diff := cmp.Diff(tt.want, render(ds)); diff != "" {
			t.Errorf("%q: %s", tt.in, diff)
		}
	}
}

func TestParseValues(t *testing.T) {
	tests := []struct{ name, file, in, want string }{
		{"comments and trailing commas", "a.json", "\ufeff// x\r\n{\r\n\t\"a\": [1,2,], /* y */ \"b\": \"\\ud83d\\ude00 \\ud83d \\u00e9\",\r\n}\r\n", `[{"a":[1,2],"b":"😀 ` + "\ufffd" + ` é"}]`},
		{"json inside a yaml file", "a.yaml", "{\"a\": \"\\ud83d\\ude00\",\n\t\"b\": 1}", `[{"a":"😀","b":1}]`},
		{"yaml flow that is no json", "a.yaml", "{a: 1, b: x}\n---\n[c]\n", `[{"a":1,"b":"x"},["c"]]`},
		{"json without an extension", "-", "// c\n{\"a\": 1}", `[{"a":1}]`},
		{"yaml without an extension", "-", "# c\na: 1\n", `[{"a":1}]`},
		{
			"no yaml 1.1", "a.yaml", "[yes, no, on, off, y, n, 2015-01-02, 012, 1_000, 1:30, 0b11, .inf, .nan, 12e03, '5', =]",
			`[["yes","no","on","off","y","n","2015-01-02","012","1_000","1:30","0b11",".inf",".nan",12e03,"5","="]]`,
		},
		{
			"yaml scalars", "a.yaml", "[null, ~, True, FALSE, 0x1F, 0o17, +5, -.5, 5., 1e3, 123456789012345678901234567890, 0.10, !!str 5, -, +, ., 0x, 1e]",
			`[[null,null,true,false,31,15,5,-0.5,5,1e3,123456789012345678901234567890,0.10,"5","-","+",".","0x","1e"]]`,
		},
		{"block scalars are text", "a.yaml", "a: |\n  5\nb: >-\n  true\n", `[{"a":"5\n","b":"true"}]`},
		{"keys as written", "a.yaml", "80: a\ntrue: b\nyes: c\n1.0: d\n", `[{"1.0":"d","80":"a","true":"b","yes":"c"}]`},
		{"documents", "a.yaml", "---\n# nothing\n---\na: 1\n...\n---\nb: 2\n", `[{"a":1},{"b":2}]`},
		{"null document", "a.yaml", "~\n", `[null]`},
		{
			"aliases and merges", "a.yaml", "x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\nz: [*x]\nw: {<<: [*x, {a: 9, c: 9}]}\n",
			`[{"w":{"a":1,"b":2,"c":9},"x":{"a":1,"b":2},"y":{"a":1,"b":3},"z":[{"a":1,"b":2}]}]`,
		},
		{"last of equal keys", "a.json", `{"a":1,"b":2,"a":3}`, `[{"a":3,"b":2}]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc, ds := Parse(tt.file, []byte(tt.in))
			if len(ds) > 0 {
				t.Fatal(ds)
			}
			raw := []any{}
			for _, r := range doc.Roots() {
				raw = append(raw, r.Raw())
			}
			var b strings.Builder
			enc := json.NewEncoder(&b)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(raw); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want+"\n", b.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	bomb := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c < 'k'; c++ {
		p := string(c - 1)
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+p+", ", 10) + "]\n"
	}
	tests := []struct {
		file, in, want string
		limits         Limits
	}{
		{"a.yaml", bomb, "the file has more than 1000000 values, aliases expanded", Limits{}},
		{"a.json", "[1,2,3]", "the file has more than 3 values", Limits{Nodes: 3}},
		{"a.json", strings.Repeat("[", 1<<20), "values are nested more than 100 deep", Limits{}},
		{"a.yaml", strings.Repeat("- ", 200) + "x", "values are nested more than 100 deep", Limits{}},
		{"a.json", "[1]     ", "the file has 8 bytes; at most 5 bytes is read", Limits{Bytes: 5}},
		{"a.json", strings.Repeat(" ", 5<<20), "the file has 5.0 MiB; at most 4.0 MiB is read", Limits{}},
	}
	for _, tt := range tests {
		_, ds := tt.limits.Parse(tt.file, []byte(tt.in))
		if len(ds) != 1 || ds[0].Summary != tt.want {
			t.Errorf("want %q, got %v", tt.want, ds)
		}
	}
}

// TestDeeperThanTheLibraryReads: what the library itself refuses is found where it is.
func TestDeeperThanTheLibraryReads(t *testing.T) {
	const most = 10_000
	for _, tt := range []struct{ name, in, want string }{
		{"blocks", strings.Repeat("- ", most+1) + "x", "a.yaml:1:20001"},
		{"brackets, and the end", strings.Repeat("[", most+1), "a.yaml:1:10001"},
		{"after a byte order mark", "\ufeff" + strings.Repeat("[", most+1), "a.yaml:1:10004"},
		{"below other lines", "é: 1\nb:\n  c: " + strings.Repeat("[", 2*most) + "é", "a.yaml:3:10006"},
		{"braces and text", "- \"[[[\"\n- " + strings.Repeat("{a: ", most+1) + "é\n", "a.yaml:2:40003"},
	} {
		_, ds := Parse("a.yaml", []byte(tt.in))
		if len(ds) != 1 || ds[0].Summary != "values are nested more than 10000 deep" {
			t.Errorf("%s: %v", tt.name, ds)
			continue
		}
		if s := ds[0].Source; fmt.Sprintf("%s:%d:%d", s.File, s.Line, s.Column) != tt.want {
			t.Errorf("%s: found at %+v, want %s", tt.name, *s, tt.want)
		}
	}
}

func TestPositionsCountOriginalBytes(t *testing.T) {
	tests := []struct {
		name, file, in string
		path           []any
		want           string
	}{
		{"bom", "a.yaml", "\ufeffa: 1\n", []any{"a"}, "a.yaml:1:7"},
		{"two-byte runes", "a.yaml", "é: ü\nb: {é: x}\n", []any{"b", "é"}, "a.yaml:2:9"},
		{"crlf", "a.yaml", "a:\r\n  - é\r\n  - b: x\r\n", []any{"a", 1, "b"}, "a.yaml:3:8"},
		{"yaml's own line breaks", "a.yaml", "a: \"x\u2028 y\"\nb: z\n", []any{"b"}, "a.yaml:2:4"},
		{"cr only", "a.yaml", "a: 1\rb: 2\r", []any{"b"}, "a.yaml:1:9"},
		{"second document", "a.yaml", "a: 1\n---\nb: é\n", nil, "a.yaml:3:1"},
		{"json comment", "a.json", "/* é\n */ {\"é\": [1,\t2]}", []any{"é", 1}, "a.json:2:16"},
		{"long line", "a.yaml", "[" + strings.Repeat("é, ", 1000) + "x]", []any{1000}, "a.yaml:1:4002"},
		{"alias is where its text stands", "a.yaml", "a: &x {b: 1}\nc: *x\n", []any{"c", "b"}, "a.yaml:1:11"},
		{"missing key is at its parent", "a.yaml", "a: 1\nb:\n  c: 1\n", []any{"b", "d", 3}, "a.yaml:3:3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc, ds := Parse(tt.file, []byte(tt.in))
			if len(ds) > 0 {
				t.Fatal(ds)
			}
			root := doc.Roots()[len(doc.Roots())-1]
			if got := root.At(tt.path...).Position().String(); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestAt(t *testing.T) {
	doc, _ := Parse("a.yaml", []byte("clusters:\n- nodeGroups:\n  - roles: [a]\n"))
	n := doc.Roots()[0]
	for _, tt := range []struct {
		path   []any
		want   string
		exists bool
	}{
		{nil, "", true},
		{[]any{"clusters", 0, "nodeGroups", 0, "roles", 0}, "clusters[0].nodeGroups[0].roles[0]", true},
		{[]any{"clusters", 0, "nodeGroups", 0, "instanceNum"}, "clusters[0].nodeGroups[0].instanceNum", false},
		{[]any{"clusters", 7, "hdfs-site.xml", "a b"}, `clusters[7]["hdfs-site.xml"]["a b"]`, false},
		{[]any{"clusters", "x"}, "clusters.x", false},
	} {
		got := n.At(tt.path...)
		if got.Address() != tt.want || got.Exists() != tt.exists {
			t.Errorf("%v: %q %v", tt.path, got.Address(), got.Exists())
		}
	}
	d := KeyError(n.At("clusters", 0, "nodeGroups"), "s", "d")
	if d.String() != "a.yaml:2:3  error  clusters[0].nodeGroups: s" {
		t.Error(d)
	}
	if d := Warning(n.At("x"), "s", "d"); d.String() != "a.yaml:1:1  warning  x: s" {
		t.Error(d)
	}
	var none *Node
	if none.Get("a").At("b", 1).Exists() || none.Position().Line != 0 || none.Raw() != nil || Error(none, "s", "").Source != nil {
		t.Error("a nil node is not missing")
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"name", "roles", "instanceNum", "cpuNum", "memCapacityMB", "ha", "storage"}
	for word, want := range map[string]string{
		"rolse": "roles", "role": "roles", "Roles": "roles", "instance_num": "instanceNum", "instancenum": "instanceNum",
		"memCapacity": "memCapacityMB", "nmae": "name", "x": "", "": "", "zookeeper": "", "h": "ha", "foo": "", strings.Repeat("a", 1000): "",
	} {
		if got := Suggest(word, known); got != want {
			t.Errorf("Suggest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestExcerpt(t *testing.T) {
	doc, _ := Parse("a.yaml", []byte("a: 1\n\u4e16: \x1b\tb\r\n"+"x: "+strings.Repeat("é", 200)+"END"))
	pos := doc.position(0)
	for _, tt := range []struct {
		line, column int
		want         string
	}{
		{1, 4, "    1 | a: 1\n      |    ^\n"},
		{2, 6, "    2 | 世: \ufffd\tb\n      |     ^\n"},
		{2, 8, "    2 | 世: \ufffd\tb\n      |      \t^\n"},
		{3, 404, "    3 | …" + strings.Repeat("é", 65) + "END\n      | " + strings.Repeat(" ", 66) + "^\n"},
		{4, 1, ""},
		{1, 99, ""},
		{0, 0, ""},
	} {
		pos.Line, pos.Column = tt.line, tt.column
		if got := Excerpt(doc, pos); got != tt.want {
			t.Errorf("%d:%d\n%s\nwant\n%s", tt.line, tt.column, got, tt.want)
		}
	}
	if Excerpt(nil, pos) != "" {
		t.Error("an excerpt of nothing")
	}
}
