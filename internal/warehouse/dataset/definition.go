package dataset

import (
	"cmp"
	"slices"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/document"
)

// Mode is what a project may do with a dataset.
type Mode string

// The two modes.
const (
	ReadOnly  Mode = "ro"
	ReadWrite Mode = "rw"
)

// File is a file that declares datasets.
type File struct {
	Warehouse string    `json:"warehouse" doc:"Cluster whose files the datasets are" minLength:"1"`
	Datasets  []Dataset `json:"datasets" doc:"The datasets" minItems:"1" maxItems:"1000"`

	list *document.Node // the datasets, for the places of findings
}

// Dataset is a folder of the warehouse with an owner.
type Dataset struct {
	Name          string   `json:"name" doc:"Name of the dataset, unlike any other in the warehouse" pattern:"^[a-z][a-z0-9-]*$" maxLength:"63"`
	Path          string   `json:"path" doc:"Folder of the warehouse, such as /data/clicks" minLength:"1" maxLength:"1000"`
	Owner         string   `json:"owner" doc:"Project that owns the dataset, and may read and write it" pattern:"^[a-z][a-z0-9-]*$" maxLength:"63"`
	QuotaMB       int64    `json:"quotaMB,omitempty" doc:"Space in MiB, all copies of a file counted as HDFS counts them; no limit if left out" minimum:"1" maximum:"1000000000000"`
	RetentionDays int      `json:"retentionDays,omitempty" doc:"Files not written for so many days are moved to HDFS's trash; never if left out, and never in a folder that Howdah did not make" minimum:"1" maximum:"36500"`
	Access        []Access `json:"access,omitempty" doc:"What other projects may do" maxItems:"1000"`
}

// Access is what one other project may do with a dataset.
type Access struct {
	Project string `json:"project" doc:"Name of the project" pattern:"^[a-z][a-z0-9-]*$" maxLength:"63"`
	Mode    Mode   `json:"mode,omitempty" doc:"ro to read, rw to write too" enum:"ro,rw" default:"ro"`
}

// Parse reads a file and returns every finding at once. The file is nil if one
// of them is an error.
func Parse(name string, data []byte) (*File, api.Diagnostics) {
	doc, found := document.Parse(name, data)
	if found.HasErrors() {
		return nil, found
	}
	roots := doc.Roots()
	if len(roots) != 1 {
		return nil, append(found, api.Diagnostic{
			Severity: api.SeverityError, Summary: "the file must hold one document that declares datasets",
			Detail: "Give warehouse and datasets.", Source: &api.Position{File: name, Line: 1, Column: 1},
		})
	}
	f := &File{}
	found = append(found, document.Decode(roots[0], f)...)
	found = append(found, document.Check(roots[0], f)...)
	f.list = roots[0].Get("datasets")
	found = append(found, Check(f.list, f.Datasets)...)
	slices.SortStableFunc(found, inFile)
	if found.HasErrors() {
		return nil, found
	}
	for i := range f.Datasets {
		f.Datasets[i].fill()
	}
	return f, found
}

// inFile orders findings by where they are in the file.
func inFile(a, b api.Diagnostic) int {
	if a.Source == nil || b.Source == nil {
		return 0
	}
	return cmp.Or(cmp.Compare(a.Source.Line, b.Source.Line), cmp.Compare(a.Source.Column, b.Source.Column))
}

func (d *Dataset) fill() {
	for i := range d.Access {
		if d.Access[i].Mode == "" {
			d.Access[i].Mode = ReadOnly
		}
	}
}

// Of returns the dataset that a path is in.
func Of(all []Dataset, name string) (Dataset, bool) {
	i := slices.IndexFunc(all, func(d Dataset) bool { return within(name, d.Path) })
	if i < 0 {
		return Dataset{}, false
	}
	return all[i], true
}

// ModeFor returns what a project may do; false if nothing.
func (d Dataset) ModeFor(project string) (Mode, bool) {
	if project == d.Owner {
		return ReadWrite, project != ""
	}
	for _, a := range d.Access {
		if a.Project == project && a.Mode == "" {
			return ReadOnly, true
		}
		if a.Project == project {
			return a.Mode, true
		}
	}
	return "", false
}
