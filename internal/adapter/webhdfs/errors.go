package webhdfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strings"
)

// What an error may be besides fs.ErrNotExist, fs.ErrExist and
// fs.ErrPermission; test with errors.Is.
var (
	// ErrSafeMode: the NameNode does not take changes yet, or any more.
	ErrSafeMode = errors.New("NameNode is in safe mode")
	// ErrStandby: no NameNode asked is the active one.
	ErrStandby = errors.New("NameNode is standby")
	// ErrNotEmpty: a folder that was to be deleted has entries.
	ErrNotEmpty = errors.New("folder is not empty")
	// ErrQuota: a quota on files or space is used up.
	ErrQuota = errors.New("quota is used up")
	// ErrRange: reading was to start at or past the end.
	ErrRange = errors.New("offset is past the end")
	// ErrUnreachable: no NameNode answered, or not the DataNode it named.
	ErrUnreachable = errors.New("HDFS is unreachable")
)

// kinds says which of Hadoop's exceptions stands for which error.
var kinds = map[error][]string{
	fs.ErrNotExist:   {"FileNotFoundException"},
	fs.ErrExist:      {"FileAlreadyExistsException"},
	fs.ErrPermission: {"AccessControlException", "SecurityException", "AuthorizationException"},
	ErrSafeMode:      {"SafeModeException"},
	ErrStandby:       {"StandbyException"},
	ErrNotEmpty:      {"PathIsNotEmptyDirectoryException"},
	ErrQuota:         {"NSQuotaExceededException", "DSQuotaExceededException", "QuotaByStorageTypeExceededException"},
}

// RemoteError is a refusal by a NameNode or DataNode.
type RemoteError struct {
	Status    int    // of HTTP
	Exception string // simple name of the Java class; empty if HTTP is all there is
	Message   string // without the stack trace
}

// Error returns the message.
func (e *RemoteError) Error() string {
	if e.Exception == "" {
		return fmt.Sprintf("HTTP status %d: %s", e.Status, e.Message)
	}
	return fmt.Sprintf("%s (%s)", e.Message, e.Exception)
}

// Is reports whether the refusal is of a kind that this package or io/fs names.
func (e *RemoteError) Is(target error) bool {
	switch {
	case target == ErrRange:
		return strings.HasPrefix(e.Message, "Offset=") && strings.Contains(e.Message, "out of the range")
	case target == ErrSafeMode && e.Exception == "RetriableException":
		return strings.Contains(e.Message, "SafeModeException") || strings.Contains(e.Message, "safe mode")
	}
	return slices.Contains(kinds[target], e.Exception)
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
		e.Message = firstLine(answer.RemoteException.Message)
	}
	return e
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}
