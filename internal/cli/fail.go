package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
)

// Exit codes. They are documented in docs/reference/exit-codes.md.
const (
	exitOK       = 0
	exitFailed   = 1
	exitInput    = 2
	exitNotFound = 3
	exitGuard    = 4
	exitTimeout  = 5
)

// exitError carries an exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }

func (e *exitError) Unwrap() error { return e.err }

// followError is something followed that did not end well. What it printed
// itself, and the findings, say why.
type followError struct {
	code     int
	summary  string // said to programs only; people have seen the findings
	findings []api.Finding
}

func (e *followError) Error() string { return e.summary }

// usageError is a command line that cannot be understood.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// failure is an error as programs get it: one object on standard error.
type failure struct {
	Code        int             `json:"code"`
	Type        string          `json:"type"`
	Detail      string          `json:"detail,omitempty"`
	Diagnostics api.Diagnostics `json:"diagnostics,omitempty"`
	Findings    []api.Finding   `json:"findings,omitempty"`
}

// codeTypes names exit codes where the server gave no name.
var codeTypes = map[int]string{
	exitFailed: "failed", exitInput: api.ProblemInvalid, exitNotFound: api.ProblemNotFound, exitGuard: api.ProblemGuard, exitTimeout: "timeout",
}

// fail prints an error the way it deserves and returns its exit code.
func (a *app) fail(cmd *cobra.Command, err error) int {
	f, text := a.explained(cmd, err)
	if f.Type == "" {
		f.Type = codeTypes[f.Code]
	}
	switch a.output {
	case "json":
		enc := json.NewEncoder(a.err)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(f) // the reader may have gone
	case "yaml":
		_ = writeYAML(a.err, f)
	default:
		text(a.err)
	}
	return f.Code
}

// explained says what an error means, to programs and to people.
func (a *app) explained(cmd *cobra.Command, err error) (failure, func(io.Writer)) {
	says := func(code int, lines ...string) (failure, func(io.Writer)) {
		f := failure{Code: code, Detail: strings.TrimPrefix(strings.Join(lines, "\n"), "howdah: ")}
		return f, func(w io.Writer) { fmt.Fprintln(w, strings.Join(lines, "\n")) }
	}
	var exit *exitError
	var followed *followError
	var p *api.Problem
	var ds api.Diagnostics
	switch {
	case errors.As(err, &p):
		detail := p.Detail
		if detail == "" && len(p.Diagnostics) == 0 {
			detail = p.Title
		}
		return failure{Code: problemCode(p), Type: p.Type, Detail: detail, Diagnostics: p.Diagnostics}, func(w io.Writer) { printProblem(w, p) }
	case errors.As(err, &ds):
		return failure{Code: exitInput, Diagnostics: ds}, func(w io.Writer) { printDiagnostics(w, ds, "nothing was changed") }
	case errors.As(err, &followed):
		return failure{Code: followed.code, Detail: followed.summary, Findings: followed.findings}, func(w io.Writer) { printFindings(w, followed.findings) }
	case errors.Is(err, context.Canceled) && a.goesOn != "":
		return says(exitFailed, "left; what was asked for goes on. Follow it with: "+a.goesOn)
	case errors.Is(err, context.Canceled):
		return says(exitFailed, "left")
	case errors.Is(err, client.ErrUnreachable):
		return says(exitFailed, fmt.Sprintf("howdah: no server runs in %s; start it with: howdah up", a.home.Dir))
	case errors.As(err, &exit):
		return says(exit.code, "howdah: "+exit.Error())
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return says(exitInput, "howdah: "+err.Error(), "see: "+cmd.CommandPath()+" --help")
	}
	return says(exitFailed, "howdah: "+err.Error())
}

func problemCode(p *api.Problem) int {
	switch p.Type {
	case api.ProblemInvalid:
		return exitInput
	case api.ProblemNotFound, api.ProblemUnsupported:
		return exitNotFound
	case api.ProblemGuard, api.ProblemBusy:
		return exitGuard
	}
	return exitFailed
}

// outputOf looks for the kind of output in arguments that could not be read.
func outputOf(args []string) string {
	for i, arg := range args {
		kind := ""
		switch {
		case arg == "--":
			return "table"
		case (arg == "-o" || arg == "--output") && i+1 < len(args):
			kind = args[i+1]
		case strings.HasPrefix(arg, "--output="):
			kind = strings.TrimPrefix(arg, "--output=")
		case strings.HasPrefix(arg, "-o"):
			kind = strings.TrimPrefix(strings.TrimPrefix(arg, "-o"), "=")
		}
		if slices.Contains([]string{"json", "yaml"}, kind) {
			return kind
		}
	}
	return "table"
}

// programs reports whether the output is for programs.
func (a *app) programs() bool { return a.output == "json" || a.output == "yaml" }

// remark prints prose about what goes on to people, and to programs as a value
// of its own among the others.
func (a *app) remark(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !a.programs() {
		fmt.Fprintln(a.err, text)
		return
	}
	_ = a.print(map[string]string{"message": strings.TrimSpace(text)}, nil) // the reader may have gone
}

// warn prints the warnings of a definition.
func (a *app) warn(ds api.Diagnostics) {
	if !a.programs() {
		printDiagnostics(a.err, ds, "")
		return
	}
	if len(ds) > 0 {
		_ = a.print(map[string]api.Diagnostics{"diagnostics": ds}, nil) // the reader may have gone
	}
}
