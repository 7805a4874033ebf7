package image

import (
	"fmt"
	"regexp"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// MaxName is how long the name of a repository may be, in bytes (OCI distribution
// specification 1.1, "pulling manifests").
const MaxName = 255

var (
	component = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)
	tagName   = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
)

// CheckRepository says what is wrong with the name of a repository. A good name is
// also a safe path: no part begins with a dot or an underscore.
func CheckRepository(name string) error {
	if len(name) > MaxName {
		return fmt.Errorf("the repository name has %d bytes; %d are allowed", len(name), MaxName)
	}
	for part := range strings.SplitSeq(name, "/") {
		if !component.MatchString(part) {
			return fmt.Errorf("%q is no name of a repository: use small letters, digits and single . _ - between them, parts joined by /", name)
		}
	}
	return nil
}

// CheckTag says what is wrong with a tag.
func CheckTag(tag string) error {
	if !tagName.MatchString(tag) {
		return fmt.Errorf("%q is no tag: use up to 128 letters, digits and _ . -, not beginning with . or -", tag)
	}
	return nil
}

// ParseDigest reads a digest as it stands in references and addresses. Only
// sha256 is kept by Howdah.
func ParseDigest(s string) (v1.Hash, error) {
	h, err := v1.NewHash(s)
	if err != nil || h.Algorithm != "sha256" {
		return v1.Hash{}, fmt.Errorf("%q is no digest: write sha256: and 64 hexadecimal digits", s)
	}
	return h, nil
}

// SplitName parts name[:tag] without a registry; the tag is "latest" where none
// is given.
func SplitName(s string) (repository, tag string, err error) {
	repository, tag = s, "latest"
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		repository, tag = s[:i], s[i+1:]
	}
	if err := CheckRepository(repository); err != nil {
		return "", "", err
	}
	return repository, tag, CheckTag(tag)
}

// Own reads the name of an image as cells write it. One that names no registry is
// of Howdah's own, and of the project default where it names no project: NAME is
// OWN/default/NAME and PROJECT/NAME is OWN/PROJECT/NAME. The project is that of an
// image of the own registry, "" for one of another.
func Own(name, own string) (ref, project string) {
	first, rest, parts := strings.Cut(name, "/")
	switch {
	case parts && first == own:
		name = rest
	case parts && (strings.ContainsAny(first, ".:") || first == "localhost"):
		return name, ""
	}
	project, _, parts = strings.Cut(name, "/")
	if !parts {
		project, name = "default", "default/"+name
	}
	return own + "/" + name, project
}

// PlatformText is a platform as people write it: linux/arm64/v8.
func PlatformText(p v1.Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// ParsePlatform reads os/architecture[/variant].
func ParsePlatform(s string) (v1.Platform, error) {
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
		return v1.Platform{}, fmt.Errorf("%q is no platform: write one like linux/amd64", s)
	}
	p := v1.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

// Runs reports whether a machine of platform host runs an image for p. A variant
// counts only where both name one.
func Runs(host, p v1.Platform) bool {
	if host.OS != p.OS || host.Architecture != p.Architecture {
		return false
	}
	return host.Variant == "" || p.Variant == "" || host.Variant == p.Variant
}
