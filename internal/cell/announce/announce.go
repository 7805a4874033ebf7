// Package announce owns telling a ZooKeeper where the master of a cell is, as
// Mesos masters do, for tools that look there. Nothing depends on it: while there
// is no ZooKeeper, it tries again. It knows nothing of what a master does.
package announce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"howdah.dev/howdah/internal/cell/mesos"
)

const (
	// prefix begins the names of the nodes; ZooKeeper adds ten digits. The lowest of
	// them is the leader.
	prefix = "json.info_"

	sessionTimeout = 10 * time.Second
	retryFirst     = time.Second
	retryLast      = 10 * time.Second
	maxPath        = 1024
)

// Config is what is announced, and where.
type Config struct {
	Hosts []string // host:port of each ZooKeeper
	Path  string   // of the folder that the node is made in
	Info  mesos.MasterInfo
	Log   *slog.Logger
}

// ParsePath checks the path of a folder in ZooKeeper.
func ParsePath(text string) (string, error) {
	if !strings.HasPrefix(text, "/") || text == "/" || path.Clean(text) != text || len(text) > maxPath || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("cannot use %q as a path in ZooKeeper: write it as /mesos/cell", text)
	}
	return text, nil
}

// Run announces until ctx ends, then takes it back. That ZooKeeper is away is no
// error: the master does without.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	dir, err := ParsePath(cfg.Path)
	if err != nil {
		return err
	}
	data, err := json.Marshal(cfg.Info)
	if err != nil {
		return fmt.Errorf("cannot announce the master: %w", err)
	}
	wait, quiet := retryFirst, false
	for ctx.Err() == nil {
		held, err := cfg.session(ctx, dir, data)
		if ctx.Err() != nil {
			return nil
		}
		if held { // it worked, for a while
			wait, quiet = retryFirst, false
		}
		if !quiet {
			cfg.Log.Warn("the master is not announced in ZooKeeper any more; it is tried again", "hosts", cfg.Hosts, "error", err)
			quiet = true
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, retryLast)
	}
	return nil
}

var errExpired = errors.New("the session has expired")

// session announces for as long as one session lasts. held tells whether it ever
// stood there.
func (c *Config) session(ctx context.Context, dir string, data []byte) (held bool, err error) {
	conn, events, err := zk.Connect(c.Hosts, sessionTimeout, zk.WithLogger(quietly{c.Log}))
	if err != nil {
		return false, fmt.Errorf("cannot reach ZooKeeper: %w", err)
	}
	// Closing ends the session, and with it what was made in it.
	ctx, cancel := context.WithCancelCause(ctx)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		<-ctx.Done()
		conn.Close()
	}()
	defer func() {
		cancel(nil)
		<-closed
	}()
	go func() { // calls wait for a connection; they are not to outlive the session
		for e := range events {
			if e.State == zk.StateExpired || e.State == zk.StateAuthFailed {
				cancel(errExpired)
			}
		}
	}()
	for ctx.Err() == nil {
		gone, err := c.publish(conn, dir, data)
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return held, err
		}
		held = true
		c.Log.Info("the master is announced in ZooKeeper", "path", dir)
		select {
		case <-ctx.Done():
		case e := <-gone: // somebody removed the node, or the session is over
			if e.Err != nil {
				cancel(e.Err)
			}
		}
	}
	return held, context.Cause(ctx)
}

// publish makes the node, and returns what tells when it is there no more.
func (c *Config) publish(conn *zk.Conn, dir string, data []byte) (<-chan zk.Event, error) {
	acl := zk.WorldACL(zk.PermAll)
	parts := strings.Split(dir, "/") // the first is empty
	for n := 2; n <= len(parts); n++ {
		at := strings.Join(parts[:n], "/")
		if _, err := conn.Create(at, nil, 0, acl); err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return nil, fmt.Errorf("cannot make %s in ZooKeeper: %w", at, err)
		}
	}
	name, err := conn.Create(path.Join(dir, prefix), data, zk.FlagEphemeral|zk.FlagSequence, acl)
	if err != nil {
		return nil, fmt.Errorf("cannot make %s in ZooKeeper: %w", path.Join(dir, prefix), err)
	}
	there, _, gone, err := conn.ExistsW(name)
	if err != nil {
		return nil, fmt.Errorf("cannot watch %s in ZooKeeper: %w", name, err)
	}
	if !there {
		return nil, fmt.Errorf("%s was removed from ZooKeeper at once", name)
	}
	return gone, nil
}

// quietly passes on what the library says, which is of no use to operators.
type quietly struct{ log *slog.Logger }

// Printf implements zk.Logger.
func (q quietly) Printf(format string, args ...any) {
	q.log.Debug("the ZooKeeper library speaks", "message", fmt.Sprintf(format, args...))
}
