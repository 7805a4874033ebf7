package artifact

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// Kind says where a blob comes from.
type Kind string

// The kinds of source.
const (
	KindMaven Kind = "mvn"
	KindURL   Kind = "https"
	KindFile  Kind = "file"
)

// Source is where a blob comes from. Exactly one of Maven, URL and File is
// set, by Kind.
type Source struct {
	Kind   Kind
	Maven  Coordinates
	URL    string
	File   string // relative to the lock's folder
	Prefix string // of an archive: only what is below it, and without it; ends in /
}

// Coordinates name an artifact in a Maven repository.
type Coordinates struct {
	Group, Artifact, Version, Classifier string
	Ext                                  string // jar unless the lock says otherwise
}

// String is the notation of locks: group:artifact:version[:classifier][@ext].
func (c Coordinates) String() string {
	s := c.Group + ":" + c.Artifact + ":" + c.Version
	if c.Classifier != "" {
		s += ":" + c.Classifier
	}
	if c.Ext != "jar" {
		s += "@" + c.Ext
	}
	return s
}

// repoPath is where a Maven repository keeps the artifact.
func (c Coordinates) repoPath() string {
	name := c.Artifact + "-" + c.Version
	if c.Classifier != "" {
		name += "-" + c.Classifier
	}
	return path.Join(strings.ReplaceAll(c.Group, ".", "/"), c.Artifact, c.Version, name+"."+c.Ext)
}

// String is the notation of locks.
func (s Source) String() string {
	var out string
	switch s.Kind {
	case KindMaven:
		out = "mvn:" + s.Maven.String()
	case KindURL:
		out = s.URL
	case KindFile:
		out = "file:" + s.File
	}
	if s.Prefix != "" {
		out += "!/" + s.Prefix
	}
	return out
}

// ParseSource reads a lock's source column.
func ParseSource(text string) (Source, error) {
	body, prefix, hasPrefix := strings.Cut(text, "!/")
	s := Source{Prefix: prefix}
	if hasPrefix {
		if err := checkPath(prefix); err != nil || !strings.HasSuffix(prefix, "/") {
			return Source{}, fmt.Errorf("the prefix after !/ must be a folder such as web/, not %q", prefix)
		}
	}
	var err error
	switch {
	case strings.HasPrefix(body, "mvn:"):
		s.Kind = KindMaven
		s.Maven, err = parseCoordinates(strings.TrimPrefix(body, "mvn:"))
	case strings.HasPrefix(body, "https://"):
		s.Kind, s.URL = KindURL, body
		u, perr := url.Parse(body)
		if perr != nil || u.Host == "" || u.User != nil {
			err = errors.New("an https source needs a host and a path, and no user or password")
		}
	case strings.HasPrefix(body, "file:"):
		s.Kind, s.File = KindFile, strings.TrimPrefix(body, "file:")
		if perr := checkPath(s.File); perr != nil || strings.HasSuffix(s.File, "/") {
			err = errors.New("a file source is relative to the lock's folder and stays inside it")
		}
	default:
		err = errors.New("a source begins with mvn:, https:// or file:")
	}
	if err != nil {
		return Source{}, err
	}
	return s, nil
}

// coordinatePart keeps what ends up in a POM and in a path harmless.
var coordinatePart = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]*$`)

func parseCoordinates(text string) (Coordinates, error) {
	body, ext, hasExt := strings.Cut(text, "@")
	if !hasExt {
		ext = "jar"
	}
	parts := strings.Split(body, ":")
	ok := len(parts) == 3 || len(parts) == 4
	for _, p := range append(parts, ext) {
		ok = ok && coordinatePart.MatchString(p) && !strings.Contains(p, "..")
	}
	if !ok {
		return Coordinates{}, errors.New("Maven coordinates are group:artifact:version[:classifier][@extension]")
	}
	c := Coordinates{Group: parts[0], Artifact: parts[1], Version: parts[2], Ext: ext}
	if len(parts) == 4 {
		c.Classifier = parts[3]
	}
	return c, nil
}

// checkPath accepts a clean relative slash path, with or without a final slash.
func checkPath(p string) error {
	trimmed := strings.TrimSuffix(p, "/")
	switch {
	case trimmed == "" || strings.HasPrefix(p, "/"):
		return errors.New("is not relative")
	case strings.ContainsAny(p, "\\\x00"):
		return errors.New("holds a backslash or a zero byte")
	case path.Clean(trimmed) != trimmed || trimmed == "." || trimmed == ".." || strings.HasPrefix(trimmed, "../"):
		return errors.New("is not clean, or leaves the set")
	}
	return nil
}
