package pipeline

import (
	"slices"
	"sync"
	"time"
)

// State is where a step or a run stands.
type State string

// States of a step. A run is running, done, failed or cancelled.
const (
	StateWaiting   State = "waiting"
	StateRunning   State = "running"
	StateDone      State = "done"
	StateFailed    State = "failed"
	StateSkipped   State = "skipped" // a step before it failed
	StateCancelled State = "cancelled"
)

// Event is news of one step. Figures are those so far, not a difference.
type Event struct {
	Time     time.Time `json:"time" doc:"When"`
	Pipeline string    `json:"pipeline" doc:"Name of the pipeline"`
	Step     string    `json:"step" doc:"Name of the step"`
	Kind     Kind      `json:"kind" enum:"app,ingest,feed,job,topology,verify" doc:"What the step does"`
	State    State     `json:"state" enum:"waiting,running,done,failed,skipped,cancelled" doc:"Where the step stands"`
	Message  string    `json:"message,omitempty" doc:"What it is doing, waits for, or failed of"`
	Figures  Figures   `json:"figures" doc:"How far it is"`
}

// Figures count what a step has done. Those that mean nothing to a kind of step
// stay zero.
type Figures struct {
	Files       int64   `json:"files,omitempty" doc:"Local files read"`
	FilesTotal  int64   `json:"filesTotal,omitempty" doc:"Local files to read"`
	Bytes       int64   `json:"bytes,omitempty" doc:"Bytes of local files read"`
	BytesTotal  int64   `json:"bytesTotal,omitempty" doc:"Bytes of local files to read"`
	Parts       int64   `json:"parts,omitempty" doc:"Files written to the warehouse"`
	PartsTotal  int64   `json:"partsTotal,omitempty" doc:"Files to write to the warehouse"`
	Instances   int64   `json:"instances,omitempty" doc:"Instances that run; at the end those that wrote"`
	Map         float64 `json:"map,omitempty" doc:"Map phase, per cent"`
	Reduce      float64 `json:"reduce,omitempty" doc:"Reduce phase, per cent"`
	Words       int64   `json:"words,omitempty" doc:"Distinct words"`
	Occurrences int64   `json:"occurrences,omitempty" doc:"All words"`
	Packages    int64   `json:"packages,omitempty" doc:"Packages; of a topology those counted to the end"`
	Lines       int64   `json:"lines,omitempty" doc:"Lines"`
	LinesTotal  int64   `json:"linesTotal,omitempty" doc:"Lines to count"`
}

// eventEvery is the least time between two events that only bring new figures.
const eventEvery = 100 * time.Millisecond

// progress is what is known of one step. It is safe for concurrent use.
type progress struct {
	mu     sync.Mutex
	result StepResult
	emit   func(StepResult) // called with mu held, so events keep their order
	last   time.Time        // of an event
}

func (p *progress) set(f func(r *StepResult)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.result)
	p.last = time.Now()
	p.emit(p.result)
}

// say reports what the step does now.
func (p *progress) say(message string) {
	p.set(func(r *StepResult) { r.Message = message })
}

// update changes the figures and reports them, unless that was just done.
func (p *progress) update(f func(f *Figures)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.result.Figures)
	if now := time.Now(); now.Sub(p.last) >= eventEvery {
		p.last = now
		p.emit(p.result)
	}
}

func (p *progress) input(in ...Input) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.result.Inputs = append(p.result.Inputs, in...)
}

func (p *progress) identify(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.result.ID = id
}

func (p *progress) image(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.result.Image = name
}

// weaker notes that something was done in a weaker way than was asked for.
func (p *progress) weaker(sentence string) {
	p.set(func(r *StepResult) { r.Conditions, r.Message = append(r.Conditions, sentence), sentence })
}

func (p *progress) snapshot() StepResult {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.result
	r.Inputs, r.Conditions = slices.Clone(r.Inputs), slices.Clone(r.Conditions)
	return r
}
