package pipeline

import (
	"path"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/internal/document"
)

// App runs a program on a cell until it has written a dataset: several instances
// of one container, which share the parts among them. The program finds the
// dataset's path in a variable HOWDAH_DATASET_..., its sources in INGEST_SOURCE,
// their pattern in INGEST_MATCH and the size of a part in INGEST_PART_MB, and
// writes a manifest into _SUCCESS last of all. examples/apps/ingest is one.
type App struct {
	Cell      string                   `json:"cell" doc:"Cluster that runs the instances" minLength:"1"`
	App       string                   `json:"app,omitempty" doc:"Id of the app; /pipeline-NAME/STEP if left out. It stays, scaled to 0, when the step is done" pattern:"^/[a-z0-9][a-z0-9-]*(/[a-z0-9][a-z0-9-]*)*$"`
	Build     Build                    `json:"build" doc:"What the image is made of"`
	Image     string                   `json:"image,omitempty" doc:"Name of the image in the server's registry, as PROJECT/NAME or PROJECT/NAME:TAG; default/STEP if left out" pattern:"^[a-z0-9][a-z0-9._-]*/[a-z0-9][a-z0-9._-]*(:[A-Za-z0-9_][A-Za-z0-9._-]*)?$"`
	Instances int                      `json:"instances,omitempty" doc:"How many run at the same time" minimum:"1" maximum:"1000" default:"1"`
	CPUs      float64                  `json:"cpus,omitempty" doc:"Cores of an instance; 0.5 if left out" minimum:"0" maximum:"1024"`
	MemMB     int                      `json:"memMB,omitempty" doc:"Memory of an instance, in MiB" minimum:"4" maximum:"1048576" default:"128"`
	Env       map[string]document.Text `json:"env,omitempty" doc:"Further variables of the instances' environment"`
	Dataset   string                   `json:"dataset" doc:"Directory of the warehouse; holds part-00000 and so on, and a manifest in _SUCCESS" minLength:"1"`
	PartMB    int                      `json:"partMB,omitempty" doc:"Size of a part in MiB; a larger file is a part of its own" minimum:"1" maximum:"4096" default:"16"`
	Deadline  time.Duration            `json:"deadline,omitempty" doc:"How long until the dataset must be complete" default:"15m"`
}

// Build says what an image is made of: a program, and folders beside it.
type Build struct {
	Binary string  `json:"binary" doc:"Statically linked program, relative to the pipeline's file; containers run it" minLength:"1"`
	Layers []Layer `json:"layers" doc:"Folders, each a layer of its own; the first holds the sources" minItems:"1" maxItems:"50"`
}

// Layer is a folder of this machine in an image.
type Layer struct {
	From  string `json:"from" doc:"Local directory, relative to the pipeline's file; ${GOROOT} is the machine's Go" minLength:"1"`
	Match string `json:"match,omitempty" doc:"Pattern of the files' base names" default:"*"`
	To    string `json:"to,omitempty" doc:"Where it is in the image" default:"/src"`
}

func (a *App) fill(pipeline, step string) {
	orDefault(&a.App, "/pipeline-"+pipeline+"/"+step)
	orDefault(&a.Image, "default/"+step)
	orDefault(&a.Instances, 1)
	orDefault(&a.CPUs, 0.5)
	orDefault(&a.MemMB, 128)
	orDefault(&a.PartMB, 16)
	orDefault(&a.Deadline, 15*time.Minute)
	for i := range a.Build.Layers {
		orDefault(&a.Build.Layers[i].Match, "*")
		orDefault(&a.Build.Layers[i].To, "/src")
	}
}

// given are the variables that the pipeline sets itself.
var given = []string{"INGEST_SOURCE", "INGEST_MATCH", "INGEST_PART_MB", "INGEST_DATASET", "HOWDAH_PIPELINE", "HOWDAH_RUN"}

func (c *checker) app(i int, a *App) {
	c.deadline(c.node(i, "app", "deadline"), a.Deadline)
	if a.CPUs < 0 {
		c.fail(c.node(i, "app", "cpus"), "the cores are negative", "Give a number such as 0.5.")
	}
	for _, name := range sortedKeys(a.Env) {
		if slices.Contains(given, name) {
			c.fail(c.node(i, "app", "env", name), "the pipeline sets "+name+" itself", "Remove it; partMB, dataset and layers say the same.")
		}
	}
	for k, l := range a.Build.Layers {
		c.pattern(c.node(i, "app", "build", "layers", k, "match"), l.Match)
		if to := l.To; to != "" && (!strings.HasPrefix(to, "/") || path.Clean(to) != to || to == "/") {
			c.fail(c.node(i, "app", "build", "layers", k, "to"), quote(to)+" is no folder of an image", "Give a whole path below the root, such as /src.")
		}
	}
}

// apps finds steps that would use the same app.
func (c *checker) apps() {
	type place struct{ cell, app string }
	seen := map[place]bool{}
	for i, s := range c.def.Steps {
		if s.App == nil || s.App.App == "" {
			continue
		}
		p := place{s.App.Cell, s.App.App}
		if seen[p] {
			c.fail(c.node(i, "app", "app"), "another step runs app "+p.app+" on "+p.cell, "Each would change the other's; give it another id.")
		}
		seen[p] = true
	}
}
