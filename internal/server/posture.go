package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Postures of an installation.
const (
	PostureSingle = "single-user" // one person, or people who trust each other
	PostureShared = "shared"      // people who do not
)

// posture names the posture options ask for.
func (o Options) posture() string {
	if o.Posture == "" {
		return PostureSingle
	}
	return o.Posture
}

// shared reports whether people who do not trust each other use the installation.
func (s *Server) shared() bool { return s.cfg.Options.posture() == PostureShared }

// checkPosture refuses to start in a posture whose promises cannot be kept here, and
// says everything that stands against it.
func (s *Server) checkPosture(ctx context.Context) error {
	switch s.cfg.Options.posture() {
	case PostureSingle:
		return nil
	case PostureShared:
	default:
		return fmt.Errorf("there is no posture %q; use %s or %s", s.cfg.Options.Posture, PostureSingle, PostureShared)
	}
	var why []string
	if s.cfg.Options.OpenPorts {
		why = append(why, "services may listen on every address of this host: start without them by --allow-open-ports=false")
	}
	why = append(why, s.exposed()...)
	deaf, err := s.manager.Unrestricted(ctx)
	if err != nil {
		return err
	}
	for _, name := range deaf {
		why = append(why, fmt.Sprintf("cluster %s does not hear of revoked tokens, for it was made by an earlier version: in the posture %s, apply it again with howdah apply, or delete it", name, PostureSingle))
	}
	if len(why) > 0 {
		return fmt.Errorf("cannot start in the posture %s:\n  %s", PostureShared, strings.Join(why, "\n  "))
	}
	return nil
}

// exposed says which of the home's secrets others than the owner could reach.
func (s *Server) exposed() []string {
	h := s.cfg.Home
	var out []string
	for _, path := range []string{h.Dir, h.Authority(), filepath.Join(h.Authority(), "ca.key"), filepath.Join(h.Authority(), "authorities.json"), h.Database()} {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			out = append(out, fmt.Sprintf("it cannot be told who reaches %s: %v", path, err))
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
			out = append(out, fmt.Sprintf("%s belongs to the user %d, and the server runs as %d: chown it", path, st.Uid, os.Geteuid()))
		}
		if path != h.Database() && info.Mode().Perm()&0o077 != 0 {
			out = append(out, fmt.Sprintf("%s is open to others (mode %04o): chmod go= %s", path, info.Mode().Perm(), path))
		}
	}
	return out
}
