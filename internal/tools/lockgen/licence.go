package main

import (
	"archive/zip"
	"encoding/xml"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const noAssertion = "NOASSERTION"

// licenceOf finds an SPDX expression for an artifact: in its POM, in the POMs
// above it, in the jar's manifest, in the licence text inside the jar.
// Several licences in one POM mean that the user may choose.
func licenceOf(repo string, r resolved) string {
	if s := licenceFromPOM(repo, r.Coord, 0); s != "" {
		return s
	}
	if s := licenceFromJar(r.File); s != "" {
		return s
	}
	return noAssertion
}

type pom struct {
	Parent *struct {
		Group    string `xml:"groupId"`
		Artifact string `xml:"artifactId"`
		Version  string `xml:"version"`
	} `xml:"parent"`
	Licenses []struct {
		Name string `xml:"name"`
		URL  string `xml:"url"`
	} `xml:"licenses>license"`
}

func licenceFromPOM(repo string, c coord, depth int) string {
	file := filepath.Join(repo, filepath.FromSlash(strings.ReplaceAll(c.Group, ".", "/")), c.Artifact, c.Version, c.Artifact+"-"+c.Version+".pom")
	data, err := os.ReadFile(file)
	if err != nil || depth > 10 {
		return ""
	}
	var p pom
	dec := xml.NewDecoder(strings.NewReader(string(data)))
	dec.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	if dec.Decode(&p) != nil {
		return ""
	}
	var ids []string
	for _, l := range p.Licenses {
		id := spdx(l.Name, l.URL)
		if id == "" {
			id = noAssertion
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	switch {
	case len(ids) > 0 && !slices.Contains(ids, noAssertion):
		return strings.Join(ids, " OR ")
	case len(ids) > 0 || p.Parent == nil:
		return ""
	}
	return licenceFromPOM(repo, coord{Group: strings.TrimSpace(p.Parent.Group), Artifact: strings.TrimSpace(p.Parent.Artifact), Version: strings.TrimSpace(p.Parent.Version)}, depth+1)
}

func licenceFromJar(file string) string {
	z, err := zip.OpenReader(file)
	if err != nil {
		return ""
	}
	defer z.Close()
	text := func(f *zip.File) string {
		r, err := f.Open()
		if err != nil {
			return ""
		}
		defer r.Close()
		data, _ := io.ReadAll(io.LimitReader(r, 64<<10))
		return string(data)
	}
	for _, f := range z.File {
		if f.Name != "META-INF/MANIFEST.MF" {
			continue
		}
		mf := strings.ReplaceAll(strings.ReplaceAll(text(f), "\r\n", "\n"), "\n ", "")
		for line := range strings.Lines(mf) {
			if v, ok := strings.CutPrefix(line, "Bundle-License:"); ok {
				if id := spdx(strings.TrimSpace(v), ""); id != "" {
					return id
				}
			}
		}
	}
	for _, f := range z.File {
		dir, base := path.Split(f.Name)
		base = strings.ToUpper(base)
		if (dir == "" || dir == "META-INF/") && (strings.HasPrefix(base, "LICENSE") || strings.HasPrefix(base, "LICENCE")) {
			if id := spdxFromText(text(f)); id != "" {
				return id
			}
		}
	}
	return ""
}

// spdxFromText knows the openings of the common texts.
func spdxFromText(text string) string {
	head := strings.Join(strings.Fields(text[:min(len(text), 6000)]), " ")
	switch {
	case strings.HasPrefix(head, "Apache License Version 2.0"):
		return "Apache-2.0"
	case strings.Contains(head, "Permission is hereby granted, free of charge"):
		return "MIT"
	case strings.Contains(head, "Redistributions of source code") && strings.Contains(head, "either the name"):
		return "BSD-3-Clause"
	case strings.Contains(head, "Redistributions of source code"):
		return "BSD-2-Clause"
	}
	return ""
}
