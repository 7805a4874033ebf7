package pull

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"howdah.dev/howdah/internal/image/imagestore"
)

// Reason is why an image could not be moved.
type Reason string

// The reasons. Only Unreachable and Other may pass by themselves.
const (
	Invalid     Reason = "Invalid"     // the name or the image itself is wrong
	Missing     Reason = "Missing"     // the registry has no such image
	Platform    Reason = "Platform"    // it is for other machines
	Digest      Reason = "Digest"      // other content came than was promised
	Login       Reason = "Login"       // the registry wants other credentials
	Unreachable Reason = "Unreachable" // the registry does not answer
	Other       Reason = "Other"
)

// Error is a failed pull or push as a sentence for users.
type Error struct {
	Reason Reason
	Verb   string // pull, push
	Image  string
	Text   string
	cause  error
}

func (e *Error) Error() string { return fmt.Sprintf("cannot %s %s: %s", e.Verb, e.Image, e.Text) }

func (e *Error) Unwrap() error { return e.cause }

// problem is an Error before it knows its image.
func problem(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Text: fmt.Sprintf(format, args...)}
}

// explain turns any error of a transfer into a sentence.
func (t *transfer) explain(ctx context.Context, err error) error {
	var e *Error
	var te *transport.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		own := *e // err is or holds e, so it cannot be its cause
		own.Verb, own.Image = t.verb, t.image
		return &own
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &te):
		e = t.refused(te)
	default:
		e = t.local(err)
	}
	e.Verb, e.Image, e.cause = t.verb, t.image, err
	return e
}

// refused explains an answer of the registry.
func (t *transfer) refused(te *transport.Error) *Error {
	var said []string
	for _, d := range te.Errors {
		said = append(said, strings.TrimSpace(string(d.Code)+" "+d.Message))
	}
	what := fmt.Sprintf("HTTP %d", te.StatusCode)
	if len(said) > 0 {
		what += ", " + strings.Join(said, "; ")
	}
	switch te.StatusCode {
	case http.StatusUnauthorized:
		switch {
		case t.anonymous && t.verb == "pull":
			return problem(Login, "the registry %s asks for a login, or has no such image (%s): give credentials for it", t.registry, what)
		case t.anonymous:
			return problem(Login, "the registry %s asks for a login (%s): give credentials for it", t.registry, what)
		}
		return problem(Login, "the registry %s refuses the login (%s): check the user and the password or token", t.registry, what)
	case http.StatusForbidden:
		return problem(Login, "the registry %s does not allow this login to %s it (%s)", t.registry, t.verb, what)
	case http.StatusNotFound:
		if t.verb == "pull" {
			return problem(Missing, "the registry %s has no such image (%s): check name and tag", t.registry, what)
		}
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return problem(Unreachable, "the registry %s cannot answer now (%s): try again later", t.registry, what)
	}
	return problem(Other, "the registry %s refuses it (%s)", t.registry, what)
}

// local explains an error that is no answer.
func (t *transfer) local(err error) *Error {
	if d, ok := errors.AsType[*imagestore.DigestError](err); ok {
		return problem(Digest, "%s came with the digest %s: the registry or something on the way changed it", d.Want, d.Got)
	}
	if s, ok := errors.AsType[*imagestore.SizeError](err); ok {
		return problem(Digest, "%s came with %d bytes where its manifest says %d", s.Digest, s.Got, s.Want)
	}
	if errors.Is(err, imagestore.ErrTooLarge) {
		return problem(Other, "%v", err)
	}
	if n, ok := errors.AsType[*netError](err); ok {
		return problem(Unreachable, "the registry %s does not answer (%v): check its name, and that this machine reaches it", t.registry, n.cause)
	}
	return problem(Other, "%v", err)
}

// netError is a request without an answer.
type netError struct{ cause error }

func (e *netError) Error() string { return e.cause.Error() }

func (e *netError) Unwrap() error { return e.cause }
