package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/artifact"
	"howdah.dev/howdah/internal/node/proc"
)

// maxLock bounds a lock file read from a blob.
const maxLock = 8 << 20

// ensureSets unpacks the artifact sets once per host; what the host's cache
// lacks is fetched from the server by digest.
func (a *Agent) ensureSets(ctx context.Context, sets []agentapi.Set) error {
	for _, set := range sets {
		if _, err := os.Stat(set.Root); err == nil {
			continue
		}
		text, err := a.blob(ctx, set.LockBlob)
		if err != nil {
			return fmt.Errorf("cannot get the lock of artifact set %s: %w", set.Name, err)
		}
		lock, ds := artifact.ParseLock(set.Lock, text)
		if err := ds.Err(); err != nil {
			return fmt.Errorf("cannot read the lock of artifact set %s: %w", set.Name, err)
		}
		if lock.ID() != set.ID {
			return fmt.Errorf("cannot use artifact set %s: its lock has id %s, the assignment wants %s", set.Name, lock.ID(), set.ID)
		}
		if err := a.cache.Fetch(ctx, lock, a.link); err != nil {
			return fmt.Errorf("cannot fetch artifact set %s: %w", set.Name, err)
		}
		if _, err := a.cache.Materialise(ctx, lock); err != nil {
			return fmt.Errorf("cannot unpack artifact set %s: %w", set.Name, err)
		}
	}
	return nil
}

// blob returns a small blob, from the cache or the server.
func (a *Agent) blob(ctx context.Context, sum string) ([]byte, error) {
	f, err := a.openBlob(ctx, sum)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxLock))
}

// openBlob opens a blob, bringing it from the server into the cache first
// where it is not there.
func (a *Agent) openBlob(ctx context.Context, sum string) (*os.File, error) {
	if f, err := a.cache.Open(sum); err == nil {
		return f, nil
	}
	r, err := a.link.FetchBlob(ctx, sum, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	got, _, err := a.cache.Put(ctx, r)
	if err != nil {
		return nil, err
	}
	if got != sum {
		return nil, fmt.Errorf("the server sent %s instead of %s", got, sum)
	}
	return a.cache.Open(sum)
}

// buildArchives builds class-data archives beside other work. They only make
// later starts faster: nothing waits for them.
func (a *Agent) buildArchives(ctx context.Context) {
	var want []agentapi.Archive
	for {
		again := time.Duration(1<<62 - 1)
		for _, ar := range want {
			if _, err := os.Stat(ar.Path); err == nil || ar.ListBlob == "" {
				continue
			}
			err := a.buildArchive(ctx, ar)
			var failed *artifact.ArchiveFailedError
			switch {
			case err == nil:
				a.log.Info("built class-data archive", "archive", ar.Name)
			case ctx.Err() != nil:
				return
			case errors.As(err, &failed):
				a.log.Warn("no class-data archive", "archive", ar.Name, "error", err)
			default:
				again = 15 * time.Second
			}
		}
		t := time.NewTimer(again)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case want = <-a.archives:
		case <-t.C:
		}
		t.Stop()
	}
}

func (a *Agent) buildArchive(ctx context.Context, ar agentapi.Archive) error {
	a.mu.Lock()
	as := a.assignment
	a.mu.Unlock()
	if err := a.ensureSets(ctx, as.Sets); err != nil {
		return err
	}
	list, err := a.openBlob(ctx, ar.ListBlob)
	if err != nil {
		return err
	}
	defer list.Close()
	for _, dir := range ar.Expand {
		jars, err := artifact.WildcardJars(dir)
		if err != nil {
			return err
		}
		if dir == ar.Expand[0] {
			ar.Classpath = nil
		}
		ar.Classpath = append(ar.Classpath, jars...)
	}
	return a.cache.BuildArchive(ctx, artifact.ArchiveRequest{
		SetID: ar.Set, Name: ar.Name, JavaHome: ar.JavaHome, JDKKey: ar.JavaKey, Classpath: ar.Classpath, ClassList: list.Name(),
	})
}

// Output files are rotated when they pass this size, and this many are kept.
const (
	maxOutput  = 32 << 20
	keepOutput = 3
)

// rotateLogs keeps the services' output files and the agent's own log small.
// The agent's lock makes it the only one that does.
func (a *Agent) rotateLogs(ctx context.Context) {
	for more := true; more; more = sleep(ctx, time.Minute) {
		a.mu.Lock()
		var files []string
		for _, s := range a.services {
			if spec := s.last(); spec != nil {
				files = append(files, s.output(spec))
			}
		}
		a.mu.Unlock()
		for _, f := range files {
			a.rotate(f, maxOutput, keepOutput)
		}
		a.rotate(a.path(dirAgent, fileLog), proc.MaxOwnLog, proc.KeepOwnLog)
	}
}

func (a *Agent) rotate(file string, most int64, keep int) {
	if err := a.rotations.rotate(file, most, keep); err != nil && !errors.Is(err, os.ErrNotExist) {
		a.log.Warn("cannot rotate output", "file", file, "error", err)
	}
}
