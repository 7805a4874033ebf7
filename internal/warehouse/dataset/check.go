package dataset

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/document"
)

const (
	maxDatasets = 1000
	// RecordDir is where Howdah keeps what it remembers in a warehouse. Nothing else
	// goes there.
	RecordDir = "/data/.howdah"
	// oneBlockMB is what HDFS sets aside for a file while it is written, for
	// each copy: a block, of the size that is its default.
	oneBlockMB = 128
)

// reserved are folders that belong to HDFS or to all.
var reserved = []string{"/user", "/tmp", "/system", "/.reserved", RecordDir}

// Check looks at the datasets of a list for what their tags cannot say. The
// node is the list, for the places of findings.
func Check(list *document.Node, all []Dataset) api.Diagnostics {
	if len(all) > maxDatasets {
		return nil // found by document.Check; comparing each with each would take too long
	}
	c := &checker{list: list, all: all}
	for i := range all {
		c.name(i)
		c.path(i)
		c.quota(i)
		c.access(i)
	}
	return c.found
}

type checker struct {
	list  *document.Node
	all   []Dataset
	found api.Diagnostics
}

func (c *checker) fail(n *document.Node, summary, detail string) {
	c.found = append(c.found, document.Error(n, summary, detail))
}

func (c *checker) name(i int) {
	same := func(d Dataset) bool { return d.Name == c.all[i].Name }
	if c.all[i].Name != "" && slices.IndexFunc(c.all, same) < i {
		c.fail(c.list.At(i, "name"), "dataset "+c.all[i].Name+" is declared twice", "Give each dataset a name of its own.")
	}
}

func (c *checker) path(i int) {
	p, n := c.all[i].Path, c.list.At(i, "path")
	if p == "" {
		return // found by document.Check
	}
	if summary, detail := Unsound(p); summary != "" {
		c.fail(n, summary, detail)
		return
	}
	for k, other := range c.all[:i] {
		if bad, _ := Unsound(other.Path); bad == "" && (within(p, other.Path) || within(other.Path, p)) {
			c.fail(n, fmt.Sprintf("%s and %s of %s overlap", p, other.Path, c.list.At(k, "path").Address()), "Quota and access are a folder's; give each dataset one of its own.")
		}
	}
}

// Unsound says what is wrong with the path of a dataset, and what to do; nothing
// is said of a good one. Characters that a server on the way may read
// differently are not allowed in it.
func Unsound(p string) (summary, detail string) {
	switch {
	case !strings.HasPrefix(p, "/"):
		return fmt.Sprintf("%q does not start with a slash", p), "Give the whole path in the warehouse, such as /data/clicks."
	case path.Clean(p) != p || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`:;\%,?#`, r) }):
		return fmt.Sprintf("%q is no plain path", p), `Leave out blanks, dots, a slash at the end, and the characters : ; \ % , ? #.`
	case strings.Count(p, "/") < 2:
		return p + " is too near the root", "Give a path of two parts or more, such as /data/clicks."
	}
	for _, r := range reserved {
		if within(p, r) || within(r, p) {
			return p + " is in or above " + r + ", which is no place for datasets", "Give another path, such as /data/clicks."
		}
	}
	return "", ""
}

func (c *checker) quota(i int) {
	if q := c.all[i].QuotaMB; q > 0 && q < oneBlockMB {
		c.fail(c.list.At(i, "quotaMB"), fmt.Sprintf("a quota of %d MiB lets nothing be written", q),
			fmt.Sprintf("HDFS sets aside %d MiB for each copy of a file while it is written; with 3 copies give %d or more.", oneBlockMB, 3*oneBlockMB))
	} else if q > 0 && q < 3*oneBlockMB {
		c.found = append(c.found, document.Warning(c.list.At(i, "quotaMB"), fmt.Sprintf("a quota of %d MiB is too small for files with 3 copies", q),
			fmt.Sprintf("HDFS sets aside %d MiB for each copy of a file while it is written.", oneBlockMB)))
	}
}

func (c *checker) access(i int) {
	d := c.all[i]
	for k, a := range d.Access {
		n := c.list.At(i, "access", k, "project")
		same := func(other Access) bool { return other.Project == a.Project }
		switch {
		case a.Project == "":
		case a.Project == d.Owner:
			c.fail(n, "project "+a.Project+" owns the dataset", "Remove it here: the owner may read and write.")
		case slices.IndexFunc(d.Access, same) < k:
			c.fail(n, "project "+a.Project+" is named twice", "Remove one of the two.")
		}
	}
}

// within reports whether p is dir or below it.
func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }
