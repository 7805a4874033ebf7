package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/renameio/v2"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/agentserver"
)

// maxArchive bounds one archive an agent sends, in bytes.
const maxArchive = 64 << 30

// NodePath names a node of a cluster. It is exported because huma fills only exported fields.
type NodePath struct {
	Named
	Node string `path:"node" doc:"Node"`
}

// keeping is what keeps an installation: replacing its parts, copying its data.
func (s *Server) keeping(a huma.API) {
	route(a, http.MethodPost, "/v1/clusters/{name}/nodes/{node}/replace-agent", "replace-agent", "Start a node's agent anew with the present program; its services go on",
		func(ctx context.Context, in *NodePath) (*struct{}, error) {
			if err := s.manager.ReplaceAgent(ctx, in.Name, in.Node); err != nil {
				return nil, problem(err)
			}
			return nil, nil
		})
	type beginning struct{ Body api.BackupRequest }
	route(a, http.MethodPost, "/v1/backups", "begin-backup", "Copy the data that clusters keep",
		func(ctx context.Context, in *beginning) (*body[api.Backup], error) {
			return answer(s.manager.BeginBackup(ctx, in.Body))
		})
	type asked struct {
		ID string `path:"id" doc:"Backup"`
	}
	route(a, http.MethodGet, "/v1/backups/{id}", "get-backup", "How far a backup is",
		func(ctx context.Context, in *asked) (*body[api.Backup], error) {
			return answer(s.manager.Backup(ctx, in.ID))
		})
	route(a, http.MethodGet, "/v1/goroutines", "goroutines", "What every goroutine of the server does", goroutines)
	// The document takes an answer's kind from its type, and this one is text.
	a.OpenAPI().Paths["/v1/goroutines"].Get.Responses["200"].Content = map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}}
}

// plain is an answer that is text.
type plain struct {
	Kind string `header:"Content-Type"`
	Body []byte
}

// goroutines tells what every goroutine of the server does, for those who help.
func goroutines(context.Context, *struct{}) (*plain, error) {
	var out bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&out, stacksOfAll); err != nil {
		return nil, problem(err)
	}
	return &plain{"text/plain; charset=utf-8", out.Bytes()}, nil
}

// stacksOfAll asks for one stack for each goroutine, as a panic prints them.
const stacksOfAll = 2

// takeArchive takes what a node's agent was asked to send.
func (s *Server) takeArchive(w http.ResponseWriter, r *http.Request) {
	step, err := strconv.Atoi(r.PathValue("step"))
	if err != nil {
		writeProblem(w, http.StatusNotFound, "there is no such step")
		return
	}
	to, err := s.manager.Sends(r.Context(), agentserver.NodeOf(r.Context()), r.PathValue("task"), step)
	if err != nil {
		writeError(w, err)
		return
	}
	if err := keep(to, http.MaxBytesReader(w, r.Body, maxArchive), r.Header.Get(agentapi.HeaderSHA256)); err != nil {
		writeError(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// keep writes a file that appears whole or not at all.
func keep(to string, from io.Reader, sum string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fmt.Errorf("cannot keep an archive: %w", err)
	}
	f, err := renameio.NewPendingFile(to, renameio.WithPermissions(0o600))
	if err != nil {
		return fmt.Errorf("cannot keep an archive: %w", err)
	}
	defer f.Cleanup() //nolint:errcheck // nothing is left to clean up after the rename
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, h), from); err != nil {
		return fmt.Errorf("cannot keep an archive: %w", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != sum {
		return fmt.Errorf("cannot keep an archive: its digest is %s, the sender says %s", got, sum)
	}
	return f.CloseAtomicallyReplace()
}
