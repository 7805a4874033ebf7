package dataset

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/document"
	"howdah.dev/howdah/internal/number"
)

// Action is what applying a file does to one dataset.
type Action string

// The actions.
const (
	Make   Action = "make"   // the folder is made
	Adopt  Action = "adopt"  // a folder that is there is declared
	Update Action = "update" // something is declared otherwise, or is not as declared
	Keep   Action = "keep"
)

// Change is what applying a file does to one dataset, and why.
type Change struct {
	Dataset string   `json:"dataset" doc:"Name of the dataset"`
	Path    string   `json:"path" doc:"Its folder"`
	Action  Action   `json:"action" enum:"make,adopt,update,keep" doc:"What is done"`
	What    []string `json:"what,omitempty" doc:"What that means, a few words each"`
}

// Plan says what applying the file would do to a warehouse, given what is declared
// in it, and returns every finding at once. owner says who a project is in HDFS.
// It changes nothing.
func (f *File) Plan(ctx context.Context, files Files, declared []Dataset, owner func(project string) Identity) ([]Change, api.Diagnostics, error) {
	var changes []Change
	var found api.Diagnostics
	for i, d := range f.Datasets {
		status, err := look(ctx, files, d)
		if err != nil {
			return nil, nil, fmt.Errorf("cannot look at dataset %s: %w", d.Name, err)
		}
		findings := f.against(i, declared)
		if status.file {
			findings = append(findings, document.Error(f.list.At(i, "path"), d.Path+" is a file", "Move it away, or choose another path."))
		}
		found = append(found, findings...)
		changes = append(changes, d.change(status.Observed, declared, owner(d.Owner)))
	}
	slices.SortStableFunc(found, inFile)
	return changes, found, nil
}

// against compares one dataset of the file with those of the warehouse.
func (f *File) against(i int, declared []Dataset) (found api.Diagnostics) {
	d, at := f.Datasets[i], f.list.At(i, "path")
	for _, other := range declared {
		_, inFile := named(f.Datasets, other.Name)
		switch {
		case other.Name == d.Name && other.Path != d.Path:
			found = append(found, document.Error(at, fmt.Sprintf("dataset %s is declared at %s, and a dataset does not move", d.Name, other.Path),
				"Give that path, or another name; or first: howdah dataset delete "+d.Name))
		case !inFile && (within(d.Path, other.Path) || within(other.Path, d.Path)):
			found = append(found, document.Error(at, fmt.Sprintf("%s overlaps %s of dataset %s", d.Path, other.Path, other.Name),
				"Quota and access are a folder's; give each dataset one of its own, or first: howdah dataset delete "+other.Name))
		}
	}
	return found
}

func named(all []Dataset, name string) (Dataset, bool) {
	i := slices.IndexFunc(all, func(d Dataset) bool { return d.Name == name })
	if i < 0 {
		return Dataset{}, false
	}
	return all[i], true
}

func (d Dataset) change(now Observed, declared []Dataset, owner Identity) Change {
	c := Change{Dataset: d.Name, Path: d.Path, Action: Keep}
	had, ok := named(declared, d.Name)
	switch {
	case !now.Exists:
		c.Action, c.What = Make, d.terms()
	case !ok:
		c.Action = Adopt
		c.What = append(d.terms(), fmt.Sprintf("it was there before: its owner %s stays, and nothing in it expires", now.Owner))
	default:
		c.What = slices.Concat(d.unlike(had), d.astray(now, had, owner))
		if len(c.What) > 0 {
			c.Action = Update
		}
	}
	return c
}

// terms are what is declared of a dataset, a few words each.
func (d Dataset) terms() []string {
	terms := []string{"owner " + d.Owner}
	if d.QuotaMB > 0 {
		terms = append(terms, "quota "+d.quota())
	}
	if d.RetentionDays > 0 {
		terms = append(terms, "retention "+d.Retention())
	}
	if len(d.Access) > 0 {
		terms = append(terms, "access "+d.Shared())
	}
	return terms
}

func (d Dataset) quota() string {
	if d.QuotaMB == 0 {
		return "none"
	}
	return number.Thousands(d.QuotaMB) + " MiB"
}

// Retention says how long files stay.
func (d Dataset) Retention() string {
	switch d.RetentionDays {
	case 0:
		return "none"
	case 1:
		return "1 day"
	}
	return fmt.Sprintf("%d days", d.RetentionDays)
}

// Shared says what other projects may do.
func (d Dataset) Shared() string {
	if len(d.Access) == 0 {
		return "none"
	}
	var words []string
	for _, a := range d.Access {
		mode, _ := d.ModeFor(a.Project)
		words = append(words, a.Project+":"+string(mode))
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

// unlike says what is declared otherwise than before.
func (d Dataset) unlike(had Dataset) (what []string) {
	for _, t := range []struct{ name, was, is string }{
		{"owner", had.Owner, d.Owner},
		{"quota", had.quota(), d.quota()},
		{"retention", had.Retention(), d.Retention()},
		{"access", had.Shared(), d.Shared()},
	} {
		if t.was != t.is {
			what = append(what, t.name+" "+t.was+" → "+t.is)
		}
	}
	return what
}

// astray says what in HDFS is not as it was declared before.
func (d Dataset) astray(now Observed, had Dataset, owner Identity) (what []string) {
	if now.Made && now.Owner != owner.User && had.Owner == d.Owner {
		what = append(what, "owner in HDFS "+now.Owner+" → "+owner.User)
	}
	want := int64(-1)
	if d.QuotaMB > 0 {
		want = d.QuotaMB << 20
	}
	if now.Quota != want && (want > 0 || now.Made) && had.QuotaMB == d.QuotaMB {
		was := "none"
		if now.Quota >= 0 {
			was = number.Thousands(now.Quota>>20) + " MiB"
		}
		what = append(what, "quota in HDFS "+was+" → "+d.quota())
	}
	return what
}
