package node

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"

	"howdah.dev/howdah/internal/agentapi"
)

// archive packs files as they are now and sends them to the server.
func (t *task) archive(ctx context.Context, step int, spec agentapi.Archived) error {
	if slices.ContainsFunc(t.observe().Sent, func(s agentapi.Sent) bool { return s.Step == step }) {
		return nil // an earlier agent has
	}
	file := filepath.Join(t.spec.Dir, fmt.Sprintf("%d.tar.gz", step))
	sent, err := pack(ctx, file, spec)
	if err != nil {
		return err
	}
	sent.Step = step
	if err := t.retry(ctx, func() error { return t.agent.link.send(ctx, t.spec.ID, step, file, sent) }); err != nil {
		return err
	}
	if err := os.Remove(file); err != nil {
		return err
	}
	return t.update(func(r *taskRecord) { r.Status.Sent = append(r.Status.Sent, sent) })
}

// pack writes the files of a directory that match patterns, in the patterns'
// order. A name, which is a pattern without wildcards, must be there. A file that
// grows meanwhile is taken as long as it was when its turn came.
func pack(ctx context.Context, to string, spec agentapi.Archived) (agentapi.Sent, error) {
	var sent agentapi.Sent
	root, err := os.OpenRoot(spec.Dir)
	if err != nil {
		return sent, fmt.Errorf("cannot read what is to be copied: %w", err)
	}
	defer root.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return sent, fmt.Errorf("cannot write an archive: %w", err)
	}
	defer out.Close()
	sum := sha256.New()
	zw := gzip.NewWriter(io.MultiWriter(out, sum))
	tw := tar.NewWriter(zw)
	done := map[string]bool{}
	for _, pattern := range spec.Files {
		names, err := fs.Glob(root.FS(), pattern)
		if err != nil {
			return sent, fmt.Errorf("cannot look for %s: %w", pattern, err)
		}
		if len(names) == 0 && !strings.ContainsAny(pattern, `*?[`) {
			return sent, fmt.Errorf("there is no %s in %s", pattern, spec.Dir)
		}
		for _, name := range names {
			if err := ctx.Err(); err != nil {
				return sent, context.Cause(ctx)
			}
			if done[name] {
				continue
			}
			done[name] = true
			ok, err := packFile(root, tw, name)
			if err != nil {
				return sent, fmt.Errorf("cannot copy %s: %w", path.Join(spec.Dir, name), err)
			}
			if ok {
				sent.Files++
			}
		}
	}
	if err := errors.Join(tw.Close(), zw.Close(), out.Close()); err != nil {
		return sent, fmt.Errorf("cannot write an archive: %w", err)
	}
	st, err := os.Stat(to)
	if err != nil {
		return sent, err
	}
	sent.Bytes, sent.SHA256 = st.Size(), hex.EncodeToString(sum.Sum(nil))
	return sent, nil
}

// packFile adds a regular file; it says whether it was one.
func packFile(root *os.Root, tw *tar.Writer, name string) (bool, error) {
	st, err := root.Lstat(name)
	if err != nil || !st.Mode().IsRegular() {
		return false, err
	}
	f, err := root.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if st, err = f.Stat(); err != nil {
		return false, err
	}
	err = tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: st.Size(), Mode: int64(st.Mode().Perm()), ModTime: st.ModTime()})
	if err != nil {
		return false, err
	}
	_, err = io.CopyN(tw, f, st.Size())
	return true, err
}

// send sends an archive of a task to the server.
func (l *link) send(ctx context.Context, task string, step int, file string, sent agentapi.Sent) error {
	c := l.current.Load()
	if !l.online.Load() || c == nil {
		return errors.New("no connection to the server")
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, fmt.Sprintf("%s%s%s/%d", c.base, agentapi.PathSend, task, step), f)
	if err != nil {
		return err
	}
	req.ContentLength = sent.Bytes
	req.Header.Set(agentapi.HeaderSHA256, sent.SHA256)
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("the server does not take the archive: %s: %s", resp.Status, strings.TrimSpace(string(why)))
	}
	return nil
}
