package pipeline

import (
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/document"
)

// Definition is a pipeline as its file declares it. After Load, local paths are
// absolute and ${GOROOT} is filled in.
type Definition struct {
	Name      string `json:"name" doc:"Name of the pipeline; its run record is kept under it" pattern:"^[a-z][a-z0-9-]*$" maxLength:"63"`
	Warehouse string `json:"warehouse" doc:"Cluster whose files the datasets live in" minLength:"1"`
	Steps     []Step `json:"steps" doc:"What is done; steps run at the same time unless one comes after another" minItems:"1" maxItems:"100"`

	root *document.Node // where the values stood
}

// Kind is what a step does.
type Kind string

// The kinds of step, each named by the key that declares it.
const (
	KindIngest   Kind = "ingest"
	KindFeed     Kind = "feed"
	KindJob      Kind = "job"
	KindTopology Kind = "topology"
	KindApp      Kind = "app"
	KindVerify   Kind = "verify"
)

// Step is one step; exactly one of its kinds is given.
type Step struct {
	Name     string    `json:"name" doc:"Name of the step, unlike any other" pattern:"^[a-z][a-z0-9-]*$" maxLength:"63"`
	After    []string  `json:"after,omitempty" doc:"Steps that must be done before this one starts" maxItems:"100"`
	App      *App      `json:"app,omitempty" doc:"Run a program in containers on a cell until it has written a dataset"`
	Ingest   *Ingest   `json:"ingest,omitempty" doc:"Join local files into a dataset"`
	Feed     *Feed     `json:"feed,omitempty" doc:"Put the lines of local files where a topology watches for them"`
	Job      *Job      `json:"job,omitempty" doc:"Run a MapReduce job over a dataset"`
	Topology *Topology `json:"topology,omitempty" doc:"Run a Storm topology until it has counted every line fed"`
	Verify   []Check   `json:"verify,omitempty" doc:"Compare results with an independent count of the local files" maxItems:"100"`
}

// Kind returns what the step does, "" when its declaration is wrong.
func (s Step) Kind() Kind {
	switch {
	case s.App != nil:
		return KindApp
	case s.Ingest != nil:
		return KindIngest
	case s.Feed != nil:
		return KindFeed
	case s.Job != nil:
		return KindJob
	case s.Topology != nil:
		return KindTopology
	case len(s.Verify) > 0:
		return KindVerify
	}
	return ""
}

// Ingest joins files into parts of a dataset. A file is never split; where one
// does not end with \n, a \n is added, so that its last word and line end.
type Ingest struct {
	From    string `json:"from" doc:"Local directory, relative to the pipeline's file; ${GOROOT} is the machine's Go. Symbolic links below it are not followed" minLength:"1"`
	Match   string `json:"match,omitempty" doc:"Pattern of the files' base names" default:"*"`
	PartMB  int    `json:"partMB,omitempty" doc:"Size of a part in MiB; a larger file is a part of its own" minimum:"1" maximum:"4096" default:"16"`
	Dataset string `json:"dataset" doc:"Directory of the warehouse; holds part-00000 and so on, and a manifest in _SUCCESS" minLength:"1"`
}

// Feed writes the lines of files as package, tab, number, tab, text; numbers
// count the lines of a package from 1.
type Feed struct {
	From  string `json:"from" doc:"Local directory, as in ingest" minLength:"1"`
	Match string `json:"match,omitempty" doc:"Pattern of the files' base names" default:"*"`
	Base  string `json:"base,omitempty" doc:"Directory at or above from that package names are relative to; the parent of from if left out"`
	Path  string `json:"path" doc:"Directory of the warehouse; each run feeds into a folder of its own below, with folders in, done, bad and lock" minLength:"1"`
	Files int    `json:"files,omitempty" doc:"How many files the lines are spread over" minimum:"1" maximum:"1000" default:"4"`
}

// Job is one MapReduce job.
type Job struct {
	Cluster  string        `json:"cluster" doc:"Cluster that runs the job" minLength:"1"`
	Jar      string        `json:"jar,omitempty" doc:"Jar, relative to the pipeline's file; the stack's own examples jar if left out"`
	Main     string        `json:"main,omitempty" doc:"Main class, or the name of a program of the examples jar; the jar's manifest names it if left out"`
	Args     []string      `json:"args,omitempty" doc:"Arguments; ${OUTPUT} is the output, ${WAREHOUSE} the warehouse's address"`
	Output   string        `json:"output" doc:"Directory of the warehouse the job writes; that of an earlier run is removed first" minLength:"1"`
	Deadline time.Duration `json:"deadline,omitempty" doc:"How long the job may take; it is killed then" default:"30m"`
}

// Topology is one Storm topology from a Flux file.
type Topology struct {
	Cluster    string                   `json:"cluster" doc:"Cluster that runs the topology" minLength:"1"`
	Name       string                   `json:"name" doc:"Name of the topology; one of that name from an earlier run is killed first" pattern:"^[A-Za-z0-9][A-Za-z0-9_-]*$"`
	Flux       string                   `json:"flux" doc:"Flux file, relative to the pipeline's file" minLength:"1"`
	Properties map[string]document.Text `json:"properties,omitempty" doc:"Properties of the Flux file; ${FEED} is this run's folder of the feed, ${OUTPUT} that of the output, ${WAREHOUSE} the warehouse's address"`
	Resources  []string                 `json:"resources,omitempty" doc:"Programs of shell components, relative to the pipeline's file; each goes into the jar's resources by its base name"`
	Files      []string                 `json:"files,omitempty" doc:"Files for the root of the jar, for example hdfs-site.xml"`
	Output     string                   `json:"output" doc:"Directory of the warehouse; totals are read from the run's folder below as lines of package, tab, total" minLength:"1"`
	Deadline   time.Duration            `json:"deadline,omitempty" doc:"How long until every line fed must be counted" default:"3m"`
	Keep       bool                     `json:"keep,omitempty" doc:"Whether the topology goes on when the step is done"`
}

// Check is one comparison: either words or lines.
type Check struct {
	Words string `json:"words,omitempty" doc:"Job step whose part files hold word, tab, count"`
	Lines string `json:"lines,omitempty" doc:"Topology step whose output holds package, tab, total"`
	Of    string `json:"of" doc:"App, ingest or feed step whose local files are counted again" minLength:"1"`
}

// step returns the step of a name.
func (d *Definition) step(name string) (Step, bool) {
	for _, s := range d.Steps {
		if s.Name == name {
			return s, true
		}
	}
	return Step{}, false
}

// fill puts defaults where nothing is given.
func (d *Definition) fill() {
	for _, s := range d.Steps {
		if a := s.App; a != nil {
			a.fill(d.Name, s.Name)
		}
		if i := s.Ingest; i != nil {
			orDefault(&i.Match, "*")
			orDefault(&i.PartMB, 16)
		}
		if f := s.Feed; f != nil {
			orDefault(&f.Match, "*")
			orDefault(&f.Files, 4)
		}
		if j := s.Job; j != nil {
			orDefault(&j.Deadline, 30*time.Minute)
		}
		if t := s.Topology; t != nil {
			orDefault(&t.Deadline, 3*time.Minute)
		}
	}
}

func orDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Parse reads a definition and returns every finding at once. It looks at
// nothing but the bytes: variables and local paths stay as written.
func Parse(file string, data []byte) (*Definition, api.Diagnostics) {
	doc, found := document.Parse(file, data)
	roots := doc.Roots()
	if found.HasErrors() {
		return nil, found
	}
	if len(roots) != 1 {
		return nil, append(found, notOne(file, roots))
	}
	d := &Definition{root: roots[0]}
	found = append(found, document.Decode(d.root, d)...)
	found = append(found, document.Check(d.root, d)...)
	found = inOrder(append(found, d.check()...))
	if found.HasErrors() {
		return nil, found
	}
	d.fill()
	return d, found
}

func notOne(file string, roots []*document.Node) api.Diagnostic {
	if len(roots) == 0 {
		return api.Diagnostic{
			Severity: api.SeverityError, Summary: "the file holds no pipeline",
			Detail: "Declare name, warehouse and steps.", Source: &api.Position{File: file, Line: 1, Column: 1},
		}
	}
	return document.Error(roots[1], "the file holds more than one pipeline", "Give each a file of its own.")
}
