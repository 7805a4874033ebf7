package app

import (
	"net/http"
	"slices"
	"strings"
)

// Messages of error bodies, Marathon's words.
const (
	MessageInvalidJSON = "Invalid JSON"
	MessageNotValid    = "Object is not valid"
)

// Error is an answer to bad input: a status of HTTP and, encoded as JSON, its body.
// Message and details have Marathon's form; findings are Howdah's own.
type Error struct {
	Status  int    `json:"-"`
	Message string `json:"message"`
	// Details is a text (of the parser), a []Detail, or nil.
	Details  any       `json:"details,omitempty"`
	Findings []Finding `json:"findings,omitempty"`
}

// Detail is what Marathon says of one field.
type Detail struct {
	Path   string   `json:"path"` // Marathon's: /container/portMappings(0)/name
	Errors []string `json:"errors"`
}

// Finding is one thing wrong with what a user sent.
type Finding struct {
	Pointer string `json:"pointer"` // JSON pointer (RFC 6901) into the body; "" is all of it
	Message string `json:"message"`
	Remedy  string `json:"remedy"` // what to do
}

// Error says everything in one line.
func (e *Error) Error() string {
	if len(e.Findings) == 0 {
		return e.Message
	}
	var b strings.Builder
	b.WriteString(e.Message)
	for i, f := range e.Findings {
		b.WriteString([]string{"; ", ": "}[btoi(i == 0)])
		if f.Pointer != "" {
			b.WriteString(f.Pointer + " ")
		}
		b.WriteString(f.Message)
	}
	return b.String()
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Refuse makes the 422 of rules that stand elsewhere (a project's policy, say) in
// the form of this package's own.
func Refuse(findings ...Finding) *Error {
	var ps problems
	for _, f := range findings {
		ps = append(ps, problem{kind: rule, place: placeOf(f.Pointer), text: f.Message, message: f.Message, remedy: f.Remedy})
	}
	return ps.err()
}

// kind orders problems by how Marathon reports them.
type kind int

const (
	rule    kind = iota // a rule is broken: "Object is not valid"
	shape               // the reader could not make sense of it: "Invalid JSON"
	mixture             // old and new words do not go together: the message alone
)

// place is where something is, in Marathon's writing and as a JSON pointer.
type place struct{ path, pointer string }

func (p place) field(name string) place {
	return place{p.path + "/" + name, p.pointer + "/" + EscapePointer(name)}
}

func (p place) index(i int) place {
	n := itoa(i)
	return place{p.path + "(" + n + ")", p.pointer + "/" + n}
}

// placeOf turns a pointer back into a place; indexes are told by their digits.
func placeOf(pointer string) place {
	var p place
	for _, token := range strings.Split(pointer, "/")[min(1, len(pointer)):] {
		if pointer == "" {
			break
		}
		if token != "" && strings.Trim(token, "0123456789") == "" {
			p = place{p.path + "(" + token + ")", p.pointer + "/" + token}
			continue
		}
		p = p.field(strings.NewReplacer("~1", "/", "~0", "~").Replace(token))
	}
	return p
}

// EscapePointer writes a name as a part of a JSON pointer (RFC 6901).
func EscapePointer(s string) string {
	if !strings.ContainsAny(s, "~/") {
		return s
	}
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(s)
}

// problem is one finding before it is known how all of them are reported.
type problem struct {
	kind    kind
	place   place
	text    string // Marathon's words
	message string // plain words for findings; text if empty
	remedy  string
}

type problems []problem

// maxFindings bounds one answer.
const maxFindings = 1000

// err makes the one answer of all problems, nil if there are none.
func (ps problems) err() *Error {
	if len(ps) == 0 {
		return nil
	}
	e := &Error{Status: http.StatusUnprocessableEntity, Message: MessageNotValid}
	worst := rule
	left := len(ps) - maxFindings
	if left > 0 {
		ps = append(slices.Clip(ps[:maxFindings]), problem{
			kind: ps[maxFindings].kind, text: "and " + itoa(left) + " more", remedy: "Mend those above first.",
		})
	}
	for _, p := range ps {
		if p.kind == mixture && worst != mixture {
			e.Message = p.text
		} else if p.kind == shape && worst == rule {
			e.Message = MessageInvalidJSON
		}
		worst = max(worst, p.kind)
		message := p.message
		if message == "" {
			message = p.text
		}
		e.Findings = append(e.Findings, Finding{Pointer: p.place.pointer, Message: message, Remedy: p.remedy})
	}
	if worst != mixture || len(ps) > 1 {
		e.Details = ps.details()
	}
	return e
}

// details groups by path, as Marathon does.
func (ps problems) details() []Detail {
	var details []Detail
	at := map[string]int{}
	for _, p := range ps {
		path := p.place.path
		if path == "" {
			path = "/"
		}
		i, ok := at[path]
		if !ok {
			i = len(details)
			at[path] = i
			details = append(details, Detail{Path: path})
		}
		details[i].Errors = append(details[i].Errors, p.text)
	}
	return details
}

func badJSON(text string) *Error {
	return &Error{
		Status: http.StatusBadRequest, Message: MessageInvalidJSON, Details: text,
		Findings: []Finding{{Message: text, Remedy: "Send valid JSON."}},
	}
}
