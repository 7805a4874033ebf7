package gateway

import (
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"
)

func TestParsePath(t *testing.T) {
	tests := map[string]struct{ want, err string }{
		"/data/go-src":               {want: "/data/go-src"},
		"/data/go-src/":              {want: "/data/go-src"},
		"/":                          {want: "/"},
		"/data/ds=2020%3A01/100%/é+": {want: "/data/ds=2020%3A01/100%/é+"},
		"/data/.Trash/.x/...":        {want: "/data/.Trash/.x/..."},
		"/data/.reserved":            {want: "/data/.reserved"},
		"":                           {err: `the path "" does not start with a slash; give the whole path`},
		"data":                       {err: `the path "data" does not start with a slash; give the whole path`},
		"/data//x":                   {err: `the path "/data//x" holds an empty name; leave out doubled slashes`},
		"/data/x//":                  {err: `the path "/data/x/" holds an empty name; leave out doubled slashes`},
		"//":                         {want: "/"},
		"/data/../x":                 {err: `the path "/data/../x" holds . or ..; give the whole path`},
		"/data/.":                    {err: `the path "/data/." holds . or ..; give the whole path`},
		"/data/%2e%2e/x":             {err: `the path "/data/../x" holds . or ..; give the whole path`},
		"/data/%252e%252e/x":         {err: `the path "/data/../x" holds . or ..; give the whole path`},
		"/data/%zz/%2e%2e/x":         {err: `the path "/data/%zz/../x" holds . or ..; give the whole path`},
		"/data/%2525252e":            {err: "the path is percent-encoded more than 4 times"},
		"/.reserved/.inodes/16386":   {err: `the path "/.reserved/.inodes/16386" is reserved; give the plain path`},
		"/%2ereserved/raw/x":         {err: `the path "/.reserved/raw/x" is reserved; give the plain path`},
		"/data/x;y":                  {err: `the path "/data/x;y" holds ; or \, which servers read differently`},
		"/data/..;/x":                {err: `the path "/data/..;/x" holds ; or \, which servers read differently`},
		`/data\x`:                    {err: `the path "/data\\x" holds ; or \, which servers read differently`},
		"/data/\x00":                 {err: `the path "/data/\x00" holds a control character`},
		"/data/%00":                  {err: `the path "/data/\x00" holds a control character`},
		"/data/\xff":                 {err: `the path "/data/\xff" is not UTF-8`},
		"/data/%ff":                  {err: `the path "/data/\xff" is not UTF-8`},
		strings.Repeat("/a", 1001):   {err: `the path "` + strings.Repeat("/a", 100) + `" is too deep`},
	}
	for text, test := range tests {
		p, err := parsePath(text)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != test.err || p.String() != test.want {
			t.Errorf("%.60q: got %q, %q, want %q, %q", text, p, got, test.want, test.err)
		}
	}
	if _, err := parsePath("/" + strings.Repeat("a", maxPath)); err == nil {
		t.Error("a long path is allowed")
	}
}

var fuzzed = Grant{Project: "p", User: "p", Datasets: []Dataset{
	{Name: "all", Path: "/data/p", Access: ReadWrite},
	{Name: "raw", Path: "/data/p/raw", Access: ReadOnly},
}}

// FuzzRequests: whatever a request says, what is passed on stays inside the
// datasets, however often a server decodes it, and read-only stays so.
func FuzzRequests(f *testing.F) {
	for _, target := range []string{
		"/webhdfs/v1/data/p/x?op=OPEN", "/webhdfs/v1/data/p/%2e%2e/x?op=CREATE&data=true", "/webhdfs/v1/data/p/a?op=RENAME&destination=/data/p/raw/%252e%252e",
		"/webhdfs/v1/data/p/a?op=CONCAT&sources=/data/p/b,/data/q", "/webhdfs/v1//data/p?op=MKDIRS", "/webhdfs/v1/data/p/a;x/../b?op=DELETE",
		"/webhdfs/v1/data/p/%72aw/x?op=APPEND", "/webhdfs/v1/data/p/a%2572aw?OP=DELETE&user.name=root&doas=root",
	} {
		for _, method := range []string{"GET", "PUT", "POST", "DELETE"} {
			f.Add(method, target)
		}
	}
	f.Fuzz(func(t *testing.T, method, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || u.Host != "" {
			return
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.URL = method, u
		c, err := parse(r)
		if err != nil {
			return
		}
		if c.user, err = fuzzed.permit(c); err != nil || c.op.need == nothing {
			return
		}
		passed := url.URL{Path: prefix + c.path.String(), RawQuery: c.query().Encode()}
		got, err := url.ParseRequestURI(passed.String())
		if err != nil {
			t.Fatal(err)
		}
		q := got.Query()
		for _, name := range []string{"doas", "delegation", "token"} {
			if q.Has(name) {
				t.Fatalf("%s was passed on: %s", name, got)
			}
		}
		if q.Get("user.name") != "p" || len(q["op"]) != 1 {
			t.Fatalf("user or operation is the caller's: %s", got)
		}
		paths := []string{strings.TrimPrefix(got.Path, prefix)}
		switch c.name {
		case "RENAME":
			paths = append(paths, q.Get("destination"))
		case "CONCAT":
			paths = append(paths, strings.Split(q.Get("sources"), ",")...)
		}
		for _, p := range paths {
			for range 8 {
				for _, reading := range []string{p, path.Clean(p)} {
					if !within(reading, "/data/p") {
						t.Fatalf("%s %s reaches %s", method, target, reading)
					}
					if c.op.need == write && within(reading, "/data/p/raw") {
						t.Fatalf("%s %s changes %s", method, target, reading)
					}
				}
				p = decode(p)
			}
		}
	})
}
