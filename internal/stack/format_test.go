package stack

import (
	"encoding/xml"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"howdah.dev/howdah/internal/agentapi"
)

func TestWrite(t *testing.T) {
	values := func() []pair {
		return []pair{
			{"b.text", "plain"},
			{"a number", 20},
			{"c=d:e", " lead\ttab\nline\\"},
			{"quote", `say "it's" <&>`},
			{"umlaut", "ä€😀"},
			{"hash", "#no comment"},
			{"empty", ""},
			{"half", 0.5},
			{"yes", true},
			{"list", []string{"x", "y z"}},
			{"digits", "0123"},
		}
	}
	for _, tt := range []struct{ format, want string }{
		{"xml", `<?xml version="1.0"?>
<configuration>
  <property><name>a number</name><value>20</value></property>
  <property><name>b.text</name><value>plain</value></property>
  <property><name>c=d:e</name><value> lead&#x9;tab&#xA;line\</value></property>
  <property><name>digits</name><value>0123</value></property>
  <property><name>empty</name><value></value></property>
  <property><name>half</name><value>0.5</value></property>
  <property><name>hash</name><value>#no comment</value></property>
  <property><name>list</name><value>[x y z]</value></property>
  <property><name>quote</name><value>say &#34;it&#39;s&#34; &lt;&amp;&gt;</value></property>
  <property><name>umlaut</name><value>ä€😀</value></property>
  <property><name>yes</name><value>true</value></property>
</configuration>
`},
		{"properties", `a\ number=20
b.text=plain
c\=d\:e=\ lead\ttab\nline\\
digits=0123
empty=
half=0.5
hash=\#no comment
list=[x y z]
quote=say "it's" <&>
umlaut=\u00e4\u20ac\ud83d\ude00
yes=true
`},
		{"env", `a number=20
b.text=plain
c=d:e=' lead	tab
line\'
digits=0123
empty=
half=0.5
hash='#no comment'
list='[x y z]'
quote='say "it'\''s" <&>'
umlaut='ä€😀'
yes=true
`},
		{"yaml", `"a number": 20
b.text: plain
`},
		{"lines", "first\n\tsecond\n"},
		{"toml", `error: cannot write format "toml"`},
	} {
		pairs := values()
		if tt.format == "yaml" {
			pairs, tt.want = nil, ""
		}
		got, err := write(tt.format, pairs, []string{"first", "\tsecond"})
		if err != nil {
			got = "error: " + err.Error()
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.format, diff)
		}
	}
}

// TestYAMLValues reads back what is written: text stays text unless a person
// would read it as a number or a truth.
func TestYAMLValues(t *testing.T) {
	for _, tt := range []struct {
		raw  any
		text string
		want any
	}{
		{"plain", `"plain"`, "plain"},
		{"12", "12", 12},
		{12, "12", 12},
		{"1.5", "1.5", 1.5},
		{"true", "true", true},
		{"yes", `"yes"`, "yes"},
		{"", `""`, ""},
		{"null", `"null"`, "null"},
		{"1e3", `"1e3"`, "1e3"},
		{"a: b # c", `"a: b # c"`, "a: b # c"},
		{"<&>", "\"\\u003c\\u0026\\u003e\"", "<&>"},
		{[]string{"a", "1"}, `["a","1"]`, []any{"a", "1"}},
		{[]any{1, "x"}, `[1,"x"]`, []any{1, "x"}},
		{map[string]any{"k": "v"}, `{"k":"v"}`, map[string]any{"k": "v"}},
		{"ä\n", `"ä\n"`, "ä\n"},
		{"2.8.3", `"2.8.3"`, "2.8.3"},
	} {
		text, err := write("yaml", []pair{{"key-1.x", tt.raw}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := "key-1.x: " + tt.text + "\n"; text != want {
			t.Errorf("%#v is written %q, want %q", tt.raw, text, want)
		}
		var back map[string]any
		if err := yaml.Unmarshal([]byte(text), &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, back["key-1.x"]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

// TestXMLReadsBack writes any text that XML can hold and reads the same.
func TestXMLReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, value := rapid.StringN(1, 20, -1).Draw(t, "key"), rapid.String().Draw(t, "value")
		text, err := write("xml", []pair{{key, value}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var back struct {
			Property []struct {
				Name  string `xml:"name"`
				Value string `xml:"value"`
			} `xml:"property"`
		}
		if err := xml.Unmarshal([]byte(text), &back); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		// What XML cannot hold is written as the replacement character.
		clean := func(s string) string {
			return strings.Map(func(r rune) rune {
				if r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xd7ff || r >= 0xe000 && r <= 0xfffd || r >= 0x10000 {
					return r
				}
				return '\ufffd'
			}, s)
		}
		if len(back.Property) != 1 || back.Property[0].Name != clean(key) || back.Property[0].Value != clean(value) {
			t.Fatalf("%q %q came back as %+v", key, value, back.Property)
		}
	})
}

// TestEnvReadsBack has a real shell read what is written.
func TestEnvReadsBack(t *testing.T) {
	for _, value := range []string{"", "plain", "two words", `"quoted"`, "it's", "$HOME `id` \\", "new\nline", "*", "~", "a=b"} {
		text, err := write("env", []pair{{"VALUE", value}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("/bin/sh", "-c", text+`printf %s "$VALUE"`).Output()
		if err != nil || string(out) != value {
			t.Errorf("%q came back as %q: %v", value, out, err)
		}
	}
}

// TestPropertiesReadBack follows java.util.Properties.load.
func TestPropertiesReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, value := rapid.StringN(1, 20, -1).Draw(t, "key"), rapid.String().Draw(t, "value")
		text, err := write("properties", []pair{{key, value}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(text, "\n") != 1 || strings.ContainsRune(text, '\r') {
			t.Fatalf("%q is not one line", text)
		}
		k, v := loadProperty(strings.TrimSuffix(text, "\n"))
		if k != strings.ToValidUTF8(key, "\ufffd") || v != strings.ToValidUTF8(value, "\ufffd") {
			t.Fatalf("%q %q came back as %q %q", key, value, k, v)
		}
	})
}

// loadProperty reads one logical line as java.util.Properties.load does.
func loadProperty(line string) (key, value string) {
	rs := []rune(line)
	i := 0
	blank := func(r rune) bool { return r == ' ' || r == '\t' || r == '\f' }
	for i < len(rs) && blank(rs[i]) {
		i++
	}
	if i < len(rs) && (rs[i] == '#' || rs[i] == '!') {
		return "", ""
	}
	read := func(isKey bool) string {
		var units []uint16
		var out strings.Builder
		flush := func() {
			for j := 0; j < len(units); j++ {
				r := rune(units[j])
				if r >= 0xd800 && r < 0xdc00 && j+1 < len(units) {
					r = 0x10000 + (r-0xd800)<<10 + rune(units[j+1]) - 0xdc00
					j++
				}
				out.WriteRune(r)
			}
			units = nil
		}
		for i < len(rs) {
			r := rs[i]
			if isKey && (r == '=' || r == ':' || blank(r)) {
				break
			}
			i++
			if r != '\\' {
				flush()
				out.WriteRune(r)
				continue
			}
			r = rs[i]
			i++
			if r == 'u' {
				n := 0
				for _, h := range rs[i : i+4] {
					n = n*16 + strings.IndexRune("0123456789abcdef", h)
				}
				i += 4
				units = append(units, uint16(n))
				continue
			}
			flush()
			if j := strings.IndexRune("tnrf", r); j >= 0 {
				r = rune("\t\n\r\f"[j])
			}
			out.WriteRune(r)
		}
		flush()
		return out.String()
	}
	key = read(true)
	for i < len(rs) && blank(rs[i]) {
		i++
	}
	if i < len(rs) && (rs[i] == '=' || rs[i] == ':') {
		i++
	}
	for i < len(rs) && blank(rs[i]) {
		i++
	}
	return key, read(false)
}

// TestValues lists what a file says, key by key, for plans.
func TestValues(t *testing.T) {
	got := values([]pair{{"a", 1}, {"b", "x"}}, []string{"l1", "l2"})
	if diff := cmp.Diff([]agentapi.Value{{Key: "a", Value: "1"}, {Key: "b", Value: "x"}, {Value: "l1 l2"}}, got); diff != "" {
		t.Error(diff)
	}
}

// TestProperties: keys are escaped as values are, and more.
func TestProperties(t *testing.T) {
	got := Properties(map[string]string{"b": "x\ny", "a key": "1", "k=v:w": " 2", "#c": "\\", "ü": "ü"})
	want := "\\#c=\\\\\na\\ key=1\nb=x\\ny\nk\\=v\\:w=\\ 2\n\\u00fc=\\u00fc\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
