package api

import (
	"fmt"
	"strings"
)

// Severity says whether a finding stops the request or only informs.
type Severity string

// The two severities. A request with at least one error changes nothing.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Position is a place in a file a user wrote. Line and Column count from 1;
// Column counts bytes.
type Position struct {
	File   string `json:"file" doc:"File name as the user gave it"`
	Line   int    `json:"line" doc:"Line, from 1"`
	Column int    `json:"column" doc:"Column in bytes, from 1"`
}

// String returns file:line:column.
func (p Position) String() string {
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Diagnostic is one finding for the user.
type Diagnostic struct {
	Severity Severity  `json:"severity" enum:"error,warning" doc:"error stops the request, warning does not"`
	Address  string    `json:"address,omitempty" doc:"What the finding is about: a path in the document (nodeGroups[0].roles) or cluster/node/service"`
	Summary  string    `json:"summary" doc:"One line that says what is wrong"`
	Detail   string    `json:"detail,omitempty" doc:"What to do about it"`
	Source   *Position `json:"source,omitempty" doc:"Where in the user's file"`
}

// String renders the finding on one line, without its detail.
func (d Diagnostic) String() string {
	var b strings.Builder
	if d.Source != nil {
		b.WriteString(d.Source.String())
		b.WriteString("  ")
	}
	b.WriteString(string(d.Severity))
	b.WriteString("  ")
	if d.Address != "" {
		b.WriteString(d.Address)
		b.WriteString(": ")
	}
	b.WriteString(d.Summary)
	return b.String()
}

// Diagnostics is a set of findings in the order they were found.
type Diagnostics []Diagnostic

// HasErrors reports whether any finding is an error.
func (ds Diagnostics) HasErrors() bool {
	for _, d := range ds {
		if d.Severity == SeverityError {
			return true
		}
	}
	return false
}

// Error joins the findings, one a line, so that a set of them can travel as an error.
func (ds Diagnostics) Error() string {
	lines := make([]string, len(ds))
	for i, d := range ds {
		lines[i] = d.String()
	}
	return strings.Join(lines, "\n")
}

// Err returns the set as an error when it holds at least one error, else nil.
func (ds Diagnostics) Err() error {
	if !ds.HasErrors() {
		return nil
	}
	return ds
}
