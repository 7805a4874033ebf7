package artifact

import (
	"cmp"
	"io"
	"maps"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"
	"github.com/package-url/packageurl-go"
)

// noLicence is what a lock says where no licence is known, by SPDX.
const noLicence = "NOASSERTION"

// SBOM writes the bill of materials of locks as CycloneDX JSON: a component for each
// set and, once, for each file, and which set depends on which files. The same locks
// give the same bytes.
func SBOM(w io.Writer, locks []*Lock, version string) error {
	locks = slices.Clone(locks)
	slices.SortFunc(locks, func(a, b *Lock) int { return cmp.Compare(a.Name, b.Name) })
	locks = slices.CompactFunc(locks, func(a, b *Lock) bool { return a.ID() == b.ID() })
	root := cdx.Component{BOMRef: "howdah", Type: cdx.ComponentTypeApplication, Name: "howdah", Version: version}
	var sets, ids []string
	files := map[string]cdx.Component{}
	depends := []cdx.Dependency{{Ref: root.BOMRef, Dependencies: &sets}}
	var all []cdx.Component
	for _, l := range locks {
		ref := "set:" + l.ID()
		sets, ids = append(sets, ref), append(ids, l.ID())
		all = append(all, cdx.Component{BOMRef: ref, Type: cdx.ComponentTypePlatform, Name: l.Name})
		var parts []string
		for _, e := range l.Blobs() {
			parts = append(parts, fileRef(e))
			files[fileRef(e)] = fileComponent(e)
		}
		slices.Sort(parts)
		depends = append(depends, cdx.Dependency{Ref: ref, Dependencies: &parts})
	}
	for _, ref := range slices.Sorted(maps.Keys(files)) {
		all = append(all, files[ref])
	}
	bom := cdx.NewBOM()
	bom.SerialNumber = "urn:uuid:" + uuid.NewSHA1(uuid.NameSpaceOID, []byte(strings.Join(append(ids, version), "\n"))).String()
	bom.Metadata, bom.Components, bom.Dependencies = &cdx.Metadata{Component: &root}, &all, &depends
	return cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cdx.SpecVersion1_6)
}

func sha256Of(sum string) *[]cdx.Hash {
	return &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: sum}}
}

func fileRef(e Entry) string { return "sha256:" + e.SHA256 }

// fileComponent describes one file of a lock.
func fileComponent(e Entry) cdx.Component {
	c := cdx.Component{BOMRef: fileRef(e), Type: cdx.ComponentTypeFile, Name: e.Path, Hashes: sha256Of(e.SHA256)}
	switch e.Source.Kind {
	case KindMaven:
		at := e.Source.Maven
		c.Type, c.Group, c.Name, c.Version = cdx.ComponentTypeLibrary, at.Group, at.Artifact, at.Version
		with := map[string]string{}
		if at.Classifier != "" {
			with["classifier"] = at.Classifier
		}
		if at.Ext != "jar" {
			with["type"] = at.Ext
		}
		c.PackageURL = packageurl.NewPackageURL(packageurl.TypeMaven, at.Group, at.Artifact, at.Version, packageurl.QualifiersFromMap(with), "").ToString()
	case KindURL:
		c.ExternalReferences = &[]cdx.ExternalReference{{Type: cdx.ERTypeDistribution, URL: e.Source.URL}}
	case KindFile:
	}
	if e.Licence != noLicence {
		c.Licenses = &cdx.Licenses{{Expression: e.Licence}}
	}
	return c
}
