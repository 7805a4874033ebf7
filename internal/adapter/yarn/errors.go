package yarn

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// What an error of this package may be; test with errors.Is.
var (
	// ErrNotFound: no such application.
	ErrNotFound = errors.New("no such application")
	// ErrDenied: the user may not do this.
	ErrDenied = errors.New("not permitted")
	// ErrStandby: this ResourceManager is not the active one.
	ErrStandby = errors.New("ResourceManager is standby")
	// ErrUnreachable: the server did not answer.
	ErrUnreachable = errors.New("server is unreachable")
)

// RemoteError is a refusal by a YARN server.
type RemoteError struct {
	Status    int    // of HTTP
	Exception string // simple name of the Java class; empty if HTTP is all there is
	Message   string
}

// Error returns the message.
func (e *RemoteError) Error() string {
	if e.Exception == "" {
		return fmt.Sprintf("HTTP status %d: %s", e.Status, e.Message)
	}
	return fmt.Sprintf("%s (%s)", e.Message, e.Exception)
}

// Is reports whether the refusal is of a kind that this package names.
func (e *RemoteError) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return e.Status == http.StatusNotFound
	case ErrDenied:
		return e.Status == http.StatusForbidden || e.Status == http.StatusUnauthorized
	}
	return false
}

// remoteError reads a refusal. It closes nothing.
func remoteError(resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxError))
	var answer struct {
		RemoteException struct {
			Exception string `json:"exception"`
			Message   string `json:"message"`
		} `json:"RemoteException"`
	}
	e := &RemoteError{Status: resp.StatusCode, Message: http.StatusText(resp.StatusCode)}
	if json.Unmarshal(body, &answer) == nil && answer.RemoteException.Exception != "" {
		e.Exception = answer.RemoteException.Exception
		e.Message, _, _ = strings.Cut(strings.TrimSpace(answer.RemoteException.Message), "\n")
	}
	return e
}
