package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseRoots(t *testing.T) {
	rf, err := parseRoots("x.roots", []byte(`# What it is.
# More of it.

into lib/
closure g:a:1     # why
exclude g:x
pin g:b:2
drop *:*:*:osx-*
into web/pages/
unpack g:a:1:tests!/webapps/
single g:c:3@zip as c.zip
`))
	if err != nil {
		t.Fatal(err)
	}
	want := &rootsFile{
		Header: []string{"# What it is.", "# More of it."},
		Sections: []section{
			{
				Dir: "lib/", Roots: []root{{Coord: coord{"g", "a", "1", "", "jar"}}},
				Exclude: []coord{{Group: "g", Artifact: "x"}}, Pins: []coord{{"g", "b", "2", "", "jar"}}, Drop: []string{"*:*:*:osx-*"},
			},
			{Dir: "web/pages/", Roots: []root{
				{Coord: coord{"g", "a", "1", "tests", "jar"}, Alone: true, Unpack: true, Prefix: "webapps/"},
				{Coord: coord{"g", "c", "3", "", "zip"}, Alone: true, Name: "c.zip"},
			}},
		},
	}
	if diff := cmp.Diff(want, rf); diff != "" {
		t.Error(diff)
	}
	lib := rf.Sections[0]
	if !lib.dropped(coord{"io.x", "n", "1", "osx-x86_64", "jar"}) || lib.dropped(coord{"io.x", "n", "1", "linux-x86_64", "jar"}) || lib.dropped(coord{"io.x", "n", "1", "", "jar"}) {
		t.Error("drop takes the wrong ones")
	}
}

func TestParseRootsErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"closure g:a:1", `x.roots:1: "closure" before the first into`},
		{"into ../x", `x.roots:1: directory "../x" leaves the set`},
		{"into lib\n\nclosure g:a", `x.roots:3: "g:a" is not GROUP:ARTIFACT:VERSION[:CLASSIFIER][@EXT]`},
		{"into lib\nexclude g", `x.roots:2: exclude wants GROUP:ARTIFACT, not "g"`},
		{"into lib\nfrob g:a:1", `x.roots:2: unknown directive "frob"`},
		{"into", `x.roots:1: "into" needs an argument`},
	} {
		if _, err := parseRoots("x.roots", []byte(tt.text)); err == nil || err.Error() != tt.want {
			t.Errorf("%q: error %v, want %s", tt.text, err, tt.want)
		}
	}
}

func TestSPDX(t *testing.T) {
	for _, tt := range []struct{ name, url, want string }{
		{"The Apache Software License, Version 2.0", "", "Apache-2.0"},
		{"Apache License", "https://www.apache.org/licenses/LICENSE-2.0.txt", "Apache-2.0"},
		{"CDDL + GPLv2 with classpath exception", "", "CDDL-1.1 OR GPL-2.0-only WITH Classpath-exception-2.0"},
		{"EDL 1.0", "", "BSD-3-Clause"},
		{"GPL2 w/ CPE", "", "GPL-2.0-only WITH Classpath-exception-2.0"},
		{"Bouncy Castle Licence", "", "MIT"},
		{"MIT", "", "MIT"},
		{"The BSD License", "", ""}, // which of them?
		{"Something of our own", "", ""},
	} {
		if got := spdx(tt.name, tt.url); got != tt.want {
			t.Errorf("spdx(%q, %q) = %q, want %q", tt.name, tt.url, got, tt.want)
		}
	}
}
