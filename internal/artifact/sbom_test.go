package artifact_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/artifact"
)

// TestSBOM: each set and each file is there once, with where it is from, its licence
// and its digest; the order of the locks does not matter.
func TestSBOM(t *testing.T) {
	a, b, c := strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("c", 64)
	parse := func(name, text string) *artifact.Lock {
		l, ds := artifact.ParseLock(name, []byte(text))
		if err := ds.Err(); err != nil {
			t.Fatal(err)
		}
		return l
	}
	one := parse("one.lock", "lib/x.jar mvn:org.x:x:1.0 10 sha256:"+a+" Apache-2.0 OR MIT\nbin/tool https://example.org/tool 5 sha256:"+b+" NOASSERTION\n")
	two := parse("two.lock", "lib/x.jar mvn:org.x:x:1.0 10 sha256:"+a+" Apache-2.0 OR MIT\nnative/ mvn:org.x:n:2:linux@zip 7 sha256:"+c+" BSD-3-Clause\n")
	var text, again bytes.Buffer
	if err := artifact.SBOM(&text, []*artifact.Lock{two, one, two}, "v1"); err != nil {
		t.Fatal(err)
	}
	if err := artifact.SBOM(&again, []*artifact.Lock{one, two}, "v1"); err != nil {
		t.Fatal(err)
	}
	if text.String() != again.String() {
		t.Error("the same locks in another order give another text")
	}
	bom := cdx.BOM{}
	if err := cdx.NewBOMDecoder(&text, cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range *bom.Components {
		line := []string{string(p.Type), p.Group, p.Name, p.Version, p.PackageURL}
		if p.Licenses != nil {
			line = append(line, (*p.Licenses)[0].Expression)
		}
		if p.Hashes != nil {
			line = append(line, string((*p.Hashes)[0].Algorithm), (*p.Hashes)[0].Value[:3])
		}
		if p.ExternalReferences != nil {
			line = append(line, (*p.ExternalReferences)[0].URL)
		}
		got = append(got, strings.Join(line, "|"))
	}
	want := []string{
		"platform||one||", "platform||two||",
		"library|org.x|x|1.0|pkg:maven/org.x/x@1.0|Apache-2.0 OR MIT|SHA-256|aaa",
		"file||bin/tool|||SHA-256|bbb|https://example.org/tool",
		"library|org.x|n|2|pkg:maven/org.x/n@2?classifier=linux&type=zip|BSD-3-Clause|SHA-256|ccc",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	depends := map[string][]string{}
	for _, d := range *bom.Dependencies {
		depends[d.Ref] = *d.Dependencies
	}
	if sets := depends["howdah"]; len(sets) != 2 || !slices.Contains(depends["set:"+one.ID()], "sha256:"+b) || slices.Contains(depends["set:"+two.ID()], "sha256:"+b) {
		t.Errorf("dependencies: %v", depends)
	}
	if bom.Metadata.Component.Version != "v1" || !strings.HasPrefix(bom.SerialNumber, "urn:uuid:") {
		t.Errorf("%+v %s", bom.Metadata.Component, bom.SerialNumber)
	}
}
