package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// refusal is an answer that is not what was asked for, in WebHDFS's own shape.
type refusal struct {
	status    int
	exception string // simple name of the Java class
	class     string // its full name
	message   string
}

func (e *refusal) Error() string { return e.message }

func invalid(format string, args ...any) error {
	return &refusal{http.StatusBadRequest, "IllegalArgumentException", "java.lang.IllegalArgumentException", fmt.Sprintf(format, args...)}
}

func unsupported(format string, args ...any) error {
	return &refusal{http.StatusBadRequest, "UnsupportedOperationException", "java.lang.UnsupportedOperationException", fmt.Sprintf(format, args...)}
}

func denied(format string, args ...any) error {
	return &refusal{http.StatusForbidden, "AccessControlException", "org.apache.hadoop.security.AccessControlException", fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) error {
	return &refusal{http.StatusNotFound, "FileNotFoundException", "java.io.FileNotFoundException", fmt.Sprintf(format, args...)}
}

func unauthorized(message string) *refusal {
	return &refusal{http.StatusUnauthorized, "SecurityException", "java.lang.SecurityException", message}
}

// broken says that the warehouse did not do what it was asked.
func broken(format string, args ...any) error {
	return &refusal{http.StatusBadGateway, "IOException", "java.io.IOException", fmt.Sprintf(format, args...)}
}

// retriable is a refusal that a client may try again.
func retriable(status int, message string) error {
	return &refusal{status, "RetriableException", "org.apache.hadoop.ipc.RetriableException", message}
}

func exists(path string) error {
	return &refusal{http.StatusForbidden, "FileAlreadyExistsException", "org.apache.hadoop.fs.FileAlreadyExistsException", path + " already exists; give overwrite=true to replace it"}
}

func errBusy(most int) error {
	return retriable(http.StatusTooManyRequests, fmt.Sprintf("more than %d requests at once with this token; try again", most))
}

var (
	errNoToken  = unauthorized("a token is needed: send the one in the file named by HOWDAH_TOKEN_FILE as Authorization: Bearer TOKEN")
	errBadToken = unauthorized("the token is not known, or is no longer valid")
	errExpired  = unauthorized("the token has expired")
	// errIdle ends a transfer in which nothing moved for too long.
	errIdle = &refusal{http.StatusRequestTimeout, "IOException", "java.io.IOException", "no data moved for too long, so the transfer was ended"}
	// errBegun: the contents have begun to flow, so no error can be told.
	errBegun = errors.New("the transfer broke off")
)

func refusalOf(err error) *refusal {
	if e, ok := errors.AsType[*refusal](err); ok {
		return e
	}
	return &refusal{http.StatusInternalServerError, "IOException", "java.io.IOException", err.Error()}
}

type remoteException struct {
	Exception string `json:"exception"`
	Class     string `json:"javaClassName"`
	Message   string `json:"message"`
}

func writeError(w http.ResponseWriter, err error) {
	e := refusalOf(err)
	if e.status == http.StatusTooManyRequests || e.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, e.status, struct {
		RemoteException remoteException
	}{remoteException{e.exception, e.class, e.message}})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		status, data = http.StatusInternalServerError, []byte("{}")
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(append(data, '\n')) //nolint:errcheck // the caller is gone then
}
