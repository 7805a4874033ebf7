package pipeline

import (
	"slices"
	"time"
)

// Result is what a run did.
type Result struct {
	Pipeline string       `json:"pipeline" doc:"Name of the pipeline"`
	Run      string       `json:"run" doc:"Id of the run; sorts by time"`
	State    State        `json:"state" enum:"running,done,failed,cancelled" doc:"How the run ended"`
	Started  time.Time    `json:"started" doc:"When the run started"`
	Ended    time.Time    `json:"ended,omitzero" doc:"When the run ended"`
	Steps    []StepResult `json:"steps" doc:"The steps in the order of the file"`
	Lineage  []Lineage    `json:"lineage,omitempty" doc:"What was made of what"`
}

// StepResult is what one step did.
type StepResult struct {
	Name    string    `json:"name" doc:"Name of the step"`
	Kind    Kind      `json:"kind" enum:"app,ingest,feed,job,topology,verify" doc:"What the step does"`
	State   State     `json:"state" enum:"waiting,running,done,failed,skipped,cancelled" doc:"How the step ended"`
	Message string    `json:"message,omitempty" doc:"The last thing it said"`
	ID      string    `json:"id,omitempty" doc:"Id of the app, job or topology"`
	Image   string    `json:"image,omitempty" doc:"Image of the containers, with its digest"`
	Started time.Time `json:"started,omitzero" doc:"When the step started"`
	Ended   time.Time `json:"ended,omitzero" doc:"When the step ended"`
	// Conditions say what was done in a weaker way than was asked for.
	Conditions []string `json:"conditions,omitempty" doc:"What was done in a weaker way than asked for"`
	Figures    Figures  `json:"figures" doc:"What it counted"`
	Inputs     []Input  `json:"inputs,omitempty" doc:"Local files it read"`
}

// Took returns how long the step ran, 0 if it did not.
func (s StepResult) Took() time.Duration {
	if s.Started.IsZero() || s.Ended.IsZero() {
		return 0
	}
	return s.Ended.Sub(s.Started)
}

// Input is a local file, or directory of files, as a step found it.
type Input struct {
	Step   string `json:"step" doc:"Step that read it"`
	Path   string `json:"path" doc:"Where it is"`
	Digest string `json:"digest" doc:"SHA-256 of the file, or over path, size and SHA-256 of each file"`
}

// Lineage says what one step made of what.
type Lineage struct {
	From    []string `json:"from" doc:"Local directory, or paths of the warehouse"`
	Step    string   `json:"step" doc:"Step that read them"`
	Kind    Kind     `json:"kind" enum:"app,ingest,feed,job,topology" doc:"What the step does"`
	Cluster string   `json:"cluster,omitempty" doc:"Cluster that ran the app, job or topology"`
	ID      string   `json:"id,omitempty" doc:"Id of the app, job or topology"`
	Image   string   `json:"image,omitempty" doc:"Image of the containers that did it, with its digest"`
	To      string   `json:"to" doc:"Path of the warehouse that was written"`
	Dataset string   `json:"dataset,omitempty" doc:"Declared dataset that it is in now; not kept in the record"`
}

// Step returns the result of a step, zero if there is none of the name.
func (r Result) Step(name string) StepResult {
	i := slices.IndexFunc(r.Steps, func(s StepResult) bool { return s.Name == name })
	if i < 0 {
		return StepResult{}
	}
	return r.Steps[i]
}

// lineage follows the steps that are done.
func (d *Definition) lineage(steps []StepResult) []Lineage {
	var out []Lineage
	for i, s := range d.Steps {
		to, _ := s.product()
		if to == "" || steps[i].State != StateDone {
			continue
		}
		l := Lineage{Step: s.Name, Kind: s.Kind(), ID: steps[i].ID, Image: steps[i].Image, To: to}
		if from, _ := s.source(); from != "" {
			l.From = []string{from}
		}
		switch {
		case s.App != nil:
			l.Cluster = s.App.Cell
		case s.Job != nil:
			l.Cluster = s.Job.Cluster
		case s.Topology != nil:
			l.Cluster = s.Topology.Cluster
		}
		for _, name := range s.After {
			other, _ := d.step(name)
			if from, _ := other.product(); from != "" && (s.Job != nil || s.Topology != nil) {
				l.From = append(l.From, from)
			}
		}
		out = append(out, l)
	}
	return out
}
