package app

import (
	"slices"
	"strings"
)

// segmentPattern is how Marathon names the rule of an id's segments.
const segmentPattern = `^(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])|(\.|\.\.)$`

// Canonical resolves a path id against an absolute base: "db" below "/a" is "/a/db",
// "../db" is "/db". It goes no higher than the root and checks nothing else.
func Canonical(id, base string) string {
	if !strings.HasPrefix(id, "/") {
		id = base + "/" + id
	}
	var out []string
	for segment := range strings.SplitSeq(id, "/") {
		switch segment {
		case "", ".":
		case "..":
			out = out[:max(0, len(out)-1)]
		default:
			out = append(out, segment)
		}
	}
	return "/" + strings.Join(out, "/")
}

// Parent returns the group that an app or group is in; "/" is its own parent.
func Parent(id string) string {
	return "/" + strings.Trim(id[:strings.LastIndexByte(id, '/')+1], "/")
}

// Within tells whether id is group or lies somewhere below it.
func Within(id, group string) bool {
	return group == "/" || id == group || strings.HasPrefix(id, group+"/")
}

// TopLevel returns the first segment of an id: the role of its apps where the group
// enforces one.
func TopLevel(id string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(id, "/"), "/")
	return first
}

const (
	maxPath = 1024 // of a reference, before it is resolved
	// maxID keeps task ids, which are names of folders too, below 255 bytes: they add
	// 62 to the app's id.
	maxID = 180
)

// readPath reads an id or a dependency, absolute or relative.
func readPath(c cursor) string { return text(1, maxPath)(c) }

// checkPath reports what is wrong with an absolute id of an app or group.
func checkPath(id string) (text, remedy string) {
	segments := strings.Split(strings.Trim(id, "/"), "/")
	for _, s := range segments {
		if !isSegment(s) {
			return "must fully match regular expression '" + segmentPattern + "'",
				"Use lower-case letters, digits, hyphens and dots between slashes."
		}
	}
	reserved := []string{"restart", "tasks", "versions", ".", ".."}
	if slices.Contains(reserved, segments[len(segments)-1]) {
		return "must not end with any of the following reserved keywords: " + strings.Join(reserved, ", "), "Choose another last word."
	}
	return "", ""
}

// isSegment tells whether s is words with inner hyphens, joined by dots.
func isSegment(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if !isName(part, "-") {
			return false
		}
	}
	return true
}
