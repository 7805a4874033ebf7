package main

import (
	"fmt"
	"path"
	"strings"
)

// coord is a Maven coordinate, G:A:V[:C][@EXT].
type coord struct {
	Group, Artifact, Version, Classifier, Ext string
}

// String renders the coordinate as a lock's source column has it.
func (c coord) String() string {
	s := c.Group + ":" + c.Artifact + ":" + c.Version
	if c.Classifier != "" {
		s += ":" + c.Classifier
	}
	if c.Ext != "jar" {
		s += "@" + c.Ext
	}
	return s
}

// fileName is the artifact's name in a Maven repository.
func (c coord) fileName() string {
	s := c.Artifact + "-" + c.Version
	if c.Classifier != "" {
		s += "-" + c.Classifier
	}
	return s + "." + c.Ext
}

// root is one artifact that a section names.
type root struct {
	Coord  coord
	Alone  bool   // without its dependencies
	Name   string // file name in the set; empty: the repository's
	Unpack bool
	Prefix string // for Unpack: only entries below it
}

// section is what goes into one directory of the set.
type section struct {
	Dir     string // ends in /
	Roots   []root
	Exclude []coord
	Pins    []coord
	Drop    []string // globs over G:A:V:C
}

// rootsFile is a parsed NAME.roots.
type rootsFile struct {
	Header   []string // the comment block at the head, with its #
	Sections []section
}

// parseRoots reads a roots file.
func parseRoots(file string, data []byte) (*rootsFile, error) {
	rf := &rootsFile{}
	head := true
	for i, line := range strings.Split(string(data), "\n") {
		text := strings.TrimSpace(line)
		if strings.HasPrefix(text, "#") && head {
			rf.Header = append(rf.Header, text)
			continue
		}
		head = false
		text, _, _ = strings.Cut(text, "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		if err := rf.directive(words); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, i+1, err)
		}
	}
	return rf, nil
}

func (rf *rootsFile) directive(words []string) error {
	if len(words) < 2 {
		return fmt.Errorf("%q needs an argument", words[0])
	}
	if words[0] == "into" {
		dir := path.Clean(words[1]) + "/"
		if path.IsAbs(dir) || strings.HasPrefix(dir, "../") {
			return fmt.Errorf("directory %q leaves the set", words[1])
		}
		rf.Sections = append(rf.Sections, section{Dir: dir})
		return nil
	}
	if len(rf.Sections) == 0 {
		return fmt.Errorf("%q before the first into", words[0])
	}
	return rf.Sections[len(rf.Sections)-1].directive(words)
}

func (s *section) directive(words []string) error {
	arg := words[1]
	switch words[0] {
	case "drop":
		for strings.Count(arg, ":") < 3 {
			arg += ":*"
		}
		s.Drop = append(s.Drop, arg)
		return nil
	case "exclude":
		g, a, ok := strings.Cut(arg, ":")
		if !ok {
			return fmt.Errorf("exclude wants GROUP:ARTIFACT, not %q", arg)
		}
		s.Exclude = append(s.Exclude, coord{Group: g, Artifact: a})
		return nil
	}
	r := root{}
	if words[0] == "unpack" {
		arg, r.Prefix, _ = strings.Cut(arg, "!/")
	}
	c, err := parseCoord(arg)
	if err != nil {
		return err
	}
	r.Coord = c
	switch words[0] {
	case "closure":
	case "pin":
		s.Pins = append(s.Pins, c)
		return nil
	case "single":
		r.Alone = true
		if len(words) == 4 && words[2] == "as" {
			r.Name = words[3]
		}
	case "unpack":
		r.Alone, r.Unpack = true, true
	default:
		return fmt.Errorf("unknown directive %q", words[0])
	}
	s.Roots = append(s.Roots, r)
	return nil
}

func parseCoord(text string) (coord, error) {
	body, ext, ok := strings.Cut(text, "@")
	if !ok {
		ext = "jar"
	}
	f := strings.Split(body, ":")
	if len(f) < 3 || len(f) > 4 {
		return coord{}, fmt.Errorf("%q is not GROUP:ARTIFACT:VERSION[:CLASSIFIER][@EXT]", text)
	}
	c := coord{Group: f[0], Artifact: f[1], Version: f[2], Ext: ext}
	if len(f) == 4 {
		c.Classifier = f[3]
	}
	return c, nil
}

// dropped reports whether one of the section's globs takes the coordinate out.
func (s *section) dropped(c coord) bool {
	id := []string{c.Group, c.Artifact, c.Version, c.Classifier}
	for _, glob := range s.Drop {
		match := true
		for i, g := range strings.SplitN(glob, ":", 4) {
			ok, _ := path.Match(g, id[i])
			match = match && ok
		}
		if match {
			return true
		}
	}
	return false
}
