package main

import "strings"

// spdxRules turns what POMs say into SPDX identifiers. The first rule all of
// whose words occur in the lower-cased name and URL wins.
var spdxRules = []struct {
	words []string
	id    string
}{
	{[]string{"cddl", "gpl"}, "CDDL-1.1 OR GPL-2.0-only WITH Classpath-exception-2.0"},
	{[]string{"cddl", "1.0"}, "CDDL-1.0"},
	{[]string{"cddl", "1.1"}, "CDDL-1.1"},
	{[]string{"common development and distribution", "1.0"}, "CDDL-1.0"},
	{[]string{"common development and distribution", "1.1"}, "CDDL-1.1"},
	{[]string{"gpl", "classpath"}, "GPL-2.0-only WITH Classpath-exception-2.0"},
	{[]string{"gpl2", "w/", "cpe"}, "GPL-2.0-only WITH Classpath-exception-2.0"},
	{[]string{"gnu general public license", "classpath"}, "GPL-2.0-only WITH Classpath-exception-2.0"},
	{[]string{"eclipse distribution license"}, "BSD-3-Clause"},
	{[]string{"edl 1.0"}, "BSD-3-Clause"},
	{[]string{"edl-v1"}, "BSD-3-Clause"},
	{[]string{"edl-v10"}, "BSD-3-Clause"},
	{[]string{"eclipse public license", "2.0"}, "EPL-2.0"},
	{[]string{"epl 2.0"}, "EPL-2.0"},
	{[]string{"epl-2.0"}, "EPL-2.0"},
	{[]string{"eclipse public license", "1.0"}, "EPL-1.0"},
	{[]string{"epl-v10"}, "EPL-1.0"},
	{[]string{"lgpl", "2.1"}, "LGPL-2.1-only"},
	{[]string{"lesser general public license", "2.1"}, "LGPL-2.1-only"},
	{[]string{"lesser-general-public-license", "lgpl"}, "LGPL-2.1-only"},
	{[]string{"gnu lesser"}, "LGPL-2.1-only"},
	{[]string{"mpl", "1.1"}, "MPL-1.1"},
	{[]string{"mpl", "2.0"}, "MPL-2.0"},
	{[]string{"mozilla public license", "2.0"}, "MPL-2.0"},
	{[]string{"apache", "2"}, "Apache-2.0"},
	{[]string{"apache", "1.1"}, "Apache-1.1"},
	{[]string{"asl", "2"}, "Apache-2.0"},
	{[]string{"bouncy castle"}, "MIT"},
	{[]string{"bouncycastle"}, "MIT"},
	{[]string{"mit-0"}, "MIT-0"},
	{[]string{"mit license"}, "MIT"},
	{[]string{"the mit"}, "MIT"},
	{[]string{"opensource.org/licenses/mit"}, "MIT"},
	{[]string{"go license"}, "BSD-3-Clause"},
	{[]string{"bsd-3"}, "BSD-3-Clause"},
	{[]string{"bsd 3"}, "BSD-3-Clause"},
	{[]string{"3-clause"}, "BSD-3-Clause"},
	{[]string{"new bsd"}, "BSD-3-Clause"},
	{[]string{"revised bsd"}, "BSD-3-Clause"},
	{[]string{"bsd-2"}, "BSD-2-Clause"},
	{[]string{"bsd 2"}, "BSD-2-Clause"},
	{[]string{"2-clause"}, "BSD-2-Clause"},
	{[]string{"cc0"}, "CC0-1.0"},
	{[]string{"public domain"}, "LicenseRef-Public-Domain"},
	{[]string{"unlicense"}, "Unlicense"},
}

// spdx returns "" for what no rule knows, a plain "BSD" among it: which of
// the BSD licences it is, only the text says.
func spdx(name, url string) string {
	if name == "MIT" {
		return "MIT"
	}
	both := strings.ToLower(name + " " + url)
	for _, r := range spdxRules {
		all := true
		for _, w := range r.words {
			all = all && strings.Contains(both, w)
		}
		if all {
			return r.id
		}
	}
	return ""
}
