package stack

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"howdah.dev/howdah/internal/document"
)

// fileName is what may be the name of a file or of a directory.
var fileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$`)

// notServices are directories of a node that are no service's.
var notServices = []string{"agent", "tasks"}

// named reports a name that something on disk is called by and that may be no name.
func (c *checker) named(at *document.Node, what, name string) {
	if !fileName.MatchString(name) {
		c.errorf(at, "use letters, digits, dots, hyphens and underscores, 100 at most, first a letter or a digit: something on disk is called so", "%q is no name for a %s", name, what)
	}
	if what == "service" && slices.Contains(notServices, name) {
		c.errorf(at, "give it another name", "no service can be called %s: every node has that directory already", name)
	}
}

// below tells whether a path stays in the directory it is relative to, and names
// something there.
func below(name string) bool {
	return filepath.IsLocal(name) && filepath.Clean(name) != "." && !strings.HasSuffix(name, "/") && !strings.ContainsRune(name, 0)
}

func (c *checker) taskFile(at *document.Node, name string) {
	if !below(name) {
		c.errorf(at, "name it relative to the task's directory", "file %q leaves the task's directory", name)
	}
}
