package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/host"
)

// minRoom is the space the disk of a home must have for new work to be taken, in bytes:
// enough to finish, stop or delete what is there.
const minRoom = 32 << 20

// needsRoom lists what is refused on a full disk: what makes it fuller. Reading, and
// whatever ends or removes something, goes on.
func needsRoom(id string) bool {
	return slices.Contains([]string{"apply", "start-cluster", "smoke-cluster", "submit-workload", "create-token", "retry-operation", "skip-operation"}, id)
}

// noRoom says that the disk of the home is full, or nothing.
func (s *Server) noRoom() error {
	disk, err := host.ReadDisk(s.cfg.Home.Dir)
	if err != nil {
		return nil //nolint:nilerr // whether there is room will show
	}
	if disk.Free < minRoom {
		return fmt.Errorf("the disk of %s is full: %d MiB is free, %d MiB is needed to take new work; nothing was changed; free some and ask again", s.cfg.Home.Dir, disk.Free>>20, minRoom>>20)
	}
	return nil
}

// room refuses new work where the disk is full.
func (s *Server) room(ctx huma.Context, next func(huma.Context)) {
	if needsRoom(ctx.Operation().OperationID) {
		if err := s.noRoom(); err != nil {
			p := full(err)
			ctx.SetHeader("Content-Type", p.ContentType(""))
			ctx.SetStatus(p.Status)
			_ = json.NewEncoder(ctx.BodyWriter()).Encode(p) // the client may have gone
			return
		}
	}
	next(ctx)
}

// full is the problem of a disk without room.
func full(err error) *api.Problem {
	return &api.Problem{Status: http.StatusInsufficientStorage, Title: http.StatusText(http.StatusInsufficientStorage), Type: api.ProblemFull, Detail: err.Error()}
}
