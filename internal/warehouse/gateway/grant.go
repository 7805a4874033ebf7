package gateway

import (
	"strings"
	"time"

	"howdah.dev/howdah/internal/warehouse/dataset"
)

// Access is what may be done with a dataset.
type Access string

// The two kinds of access. Anything else is none.
const (
	ReadOnly  Access = "ro"
	ReadWrite Access = "rw"
)

// Grant is what a token allows.
type Grant struct {
	Project  string
	User     string // HDFS user that everything is done as
	Datasets []Dataset
	Expires  time.Time // zero: when Authorize says so
}

// Dataset is one folder of the warehouse that may be used. Of two datasets of
// which one is inside the other, the inner decides what is in it.
type Dataset struct {
	Name   string
	Path   string // absolute and clean; a dataset with another path grants nothing
	Access Access
	// User is the HDFS user for this dataset in place of the grant's: a dataset
	// of another project is used as its owner, so that HDFS's own permissions
	// hold and its files belong to one user.
	User string
}

// sound reports whether the path can be compared with others as text.
func (d Dataset) sound() bool {
	return unsound(d.Path) == "" && d.Path != "/" && !strings.Contains(d.Path, "%") && !strings.HasSuffix(d.Path, "/")
}

// of returns the innermost dataset that a path is in.
func (g Grant) of(path string) (Dataset, bool) {
	var best Dataset
	for _, d := range g.Datasets {
		if d.sound() && within(path, d.Path) && len(d.Path) > len(best.Path) {
			best = d
		}
	}
	return best, best.Path != ""
}

// permit checks every path of a call, and returns the HDFS user to do it as.
func (g Grant) permit(c *call) (user string, err error) {
	if c.op.need == nothing {
		return g.user("", c)
	}
	first, err := g.allow(c.path, c)
	if err != nil {
		return "", err
	}
	if user, err = g.user(first.User, c); err != nil {
		return "", err
	}
	for _, p := range c.others {
		d, err := g.allow(p, c)
		if err != nil {
			return "", err
		}
		if other, _ := g.user(d.User, c); other != user {
			return "", denied("%s and %s belong to different owners; copy the file instead", c.path, p)
		}
	}
	return user, nil
}

func (g Grant) user(own string, c *call) (string, error) {
	if own == "" {
		own = g.User
	}
	if own == "" {
		return "", denied("%s is not allowed: the token names no HDFS user", c.name)
	}
	return own, nil
}

// allow returns the dataset a path is in, if the call may use the path so.
func (g Grant) allow(p hdfsPath, c *call) (Dataset, error) {
	var first Dataset
	for i, reading := range p.readings {
		d, ok := g.of(reading)
		switch {
		case within(reading, dataset.RecordDir):
			return d, denied("%s is Howdah's own and in no dataset", reading)
		case !ok:
			return d, denied("%s is in no dataset of project %s; its datasets are %s", reading, g.Project, g.names())
		case c.op.need == write && d.Access != ReadWrite:
			return d, denied("dataset %s is read-only for project %s: %s is not allowed on %s", d.Name, g.Project, c.name, reading)
		case d.Access != ReadWrite && d.Access != ReadOnly:
			return d, denied("dataset %s cannot be used: its access is %q", d.Name, d.Access)
		}
		if c.op.tree {
			if err := g.uproots(reading, c); err != nil {
				return d, err
			}
		}
		if i == 0 {
			first = d
		} else if d.Path != first.Path {
			return d, denied("%s could be read as a path of two datasets, %s and %s", p, first.Name, d.Name)
		}
	}
	return first, nil
}

// uproots refuses to take away or replace the folder of a dataset itself: its
// owner and quota would be gone with it, and a read-only dataset inside too.
func (g Grant) uproots(path string, c *call) error {
	for _, d := range g.Datasets {
		if within(d.Path, path) {
			return denied("%s of %s would take away or replace the folder of dataset %s; name what is in it", c.name, path, d.Name)
		}
	}
	return nil
}

func (g Grant) names() string {
	if len(g.Datasets) == 0 {
		return "none"
	}
	var all []string
	for _, d := range g.Datasets {
		all = append(all, d.Name+" ("+d.Path+", "+string(d.Access)+")")
	}
	return strings.Join(all, ", ")
}
