package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"howdah.dev/howdah/internal/image/filelock"
	"howdah.dev/howdah/internal/image/imagestore"
)

// Codes of the distribution specification 1.1, "error codes".
const (
	codeBlobUnknown         = "BLOB_UNKNOWN"
	codeBlobUploadInvalid   = "BLOB_UPLOAD_INVALID"
	codeBlobUploadUnknown   = "BLOB_UPLOAD_UNKNOWN"
	codeDigestInvalid       = "DIGEST_INVALID"
	codeManifestBlobUnknown = "MANIFEST_BLOB_UNKNOWN"
	codeManifestInvalid     = "MANIFEST_INVALID"
	codeManifestUnknown     = "MANIFEST_UNKNOWN"
	codeNameInvalid         = "NAME_INVALID"
	codeNameUnknown         = "NAME_UNKNOWN"
	codeSizeInvalid         = "SIZE_INVALID"
	codeTagInvalid          = "TAG_INVALID" // of registry 2.0; 1.1 has none
	codeUnauthorized        = "UNAUTHORIZED"
	codeDenied              = "DENIED"
	codeUnsupported         = "UNSUPPORTED"
	codeTooManyRequests     = "TOOMANYREQUESTS"
	codeUnknown             = "UNKNOWN"
)

// failure is an error with its place in the protocol.
type failure struct {
	status int
	code   string
	text   string
}

func (f *failure) Error() string { return f.text }

// oneError is an entry of the body of an error.
type oneError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Detail  any    `json:"detail,omitempty"`
}

// denied turns the answer of Authorize into a failure.
func denied(err error) error {
	if errors.Is(err, ErrUnauthenticated) {
		return &failure{http.StatusUnauthorized, codeUnauthorized, err.Error()}
	}
	return &failure{http.StatusForbidden, codeDenied, err.Error()}
}

// sentinels are errors of the store and what they are in the protocol.
func sentinels() map[error]failure {
	return map[error]failure{
		imagestore.ErrBlobUnknown:     {http.StatusNotFound, codeBlobUnknown, ""},
		imagestore.ErrManifestUnknown: {http.StatusNotFound, codeManifestUnknown, ""},
		imagestore.ErrNameUnknown:     {http.StatusNotFound, codeNameUnknown, ""},
		imagestore.ErrUploadUnknown:   {http.StatusNotFound, codeBlobUploadUnknown, ""},
		imagestore.ErrTooLarge:        {http.StatusRequestEntityTooLarge, codeSizeInvalid, ""},
		imagestore.ErrTooMany:         {http.StatusTooManyRequests, codeTooManyRequests, ""},
		filelock.ErrHeld:              {http.StatusConflict, codeBlobUploadInvalid, ""},
	}
}

// classify finds the place of an error in the protocol.
func classify(err error) failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return *f
	}
	for sentinel, f := range sentinels() {
		if errors.Is(err, sentinel) {
			f.text = err.Error()
			return f
		}
	}
	if _, ok := errors.AsType[*imagestore.DigestError](err); ok {
		return failure{http.StatusBadRequest, codeDigestInvalid, err.Error()}
	}
	if _, ok := errors.AsType[*imagestore.SizeError](err); ok {
		return failure{http.StatusBadRequest, codeSizeInvalid, err.Error()}
	}
	if _, ok := errors.AsType[*imagestore.RangeError](err); ok {
		return failure{http.StatusRequestedRangeNotSatisfiable, codeBlobUploadInvalid, err.Error()}
	}
	return failure{http.StatusInternalServerError, codeUnknown, "the registry cannot do this now; its log says why"}
}

// fail writes an error the way clients expect it.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	f := classify(err)
	if f.status == http.StatusInternalServerError && r.Context().Err() == nil {
		s.cfg.Log.Error("cannot serve a request for an image", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	body := []oneError{{Code: f.code, Message: f.text}}
	if m, ok := errors.AsType[*imagestore.MissingError](err); ok {
		f.status, body = http.StatusBadRequest, nil
		for _, d := range m.Missing {
			body = append(body, oneError{
				codeManifestBlobUnknown, fmt.Sprintf("push %s first: the manifest refers to it", d.Digest),
				map[string]string{"digest": d.Digest.String()},
			})
		}
	}
	if f.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", s.challenge(r))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Del("Content-Length")
	w.Header().Del("Docker-Content-Digest")
	w.WriteHeader(f.status)
	if r.Method != http.MethodHead {
		_ = json.NewEncoder(w).Encode(map[string]any{"errors": body}) // the client may have gone
	}
}

// challenge tells a client how to log in.
func (s *server) challenge(r *http.Request) string {
	if s.cfg.Realm == nil {
		return `Basic realm="howdah"`
	}
	return fmt.Sprintf(`Bearer realm=%q,service="howdah"`, s.cfg.Realm(r))
}

func writeJSON(w http.ResponseWriter, kind string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(data) // the client may have gone
	return nil
}
