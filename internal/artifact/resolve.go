package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// Resolve brings every blob of the locks into the cache: from the user's
// Maven (its local repository first, which costs no process), from URLs, from
// files beside the lock. Every blob is verified. progress, if not nil, hears
// each set's count at the start and after every file; calls do not overlap.
//
// What was fetched stays when Resolve fails or is cancelled: the next call
// goes on from there.
func (c *Cache) Resolve(ctx context.Context, locks []*Lock, progress func(Progress)) error {
	track := newTracker(locks, c, progress)
	if len(c.missingOf(locks)) == 0 {
		return nil
	}
	unlock, err := c.lock(ctx, "resolve")
	if err != nil {
		return fmt.Errorf("cannot resolve artifacts: %w", err)
	}
	defer unlock()
	missing := c.missingOf(locks) // another process may have worked meanwhile
	var need int64
	for _, m := range missing {
		need += m.Size
	}
	if err := c.requireSpace(need); err != nil {
		return fmt.Errorf("cannot resolve artifacts: %w", err)
	}
	for _, l := range locks {
		for _, e := range l.Blobs() {
			if c.has(e) {
				track.done(e)
			}
		}
	}
	r := &resolver{cache: c, track: track}
	if err := r.run(ctx, missing); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("cannot resolve artifacts: %w", context.Cause(ctx))
		}
		return err
	}
	return nil
}

// wanted is a missing blob and the lock that asks for it.
type wanted struct {
	Entry
	lock *Lock
}

func (c *Cache) missingOf(locks []*Lock) []wanted {
	seen := map[string]bool{}
	var out []wanted
	for _, l := range locks {
		for _, e := range c.Missing(l) {
			if !seen[e.SHA256] {
				seen[e.SHA256] = true
				out = append(out, wanted{e, l})
			}
		}
	}
	return out
}

type resolver struct {
	cache *Cache
	track *tracker
}

func (r *resolver) run(ctx context.Context, missing []wanted) error {
	byKind := map[Kind][]wanted{}
	for _, w := range missing {
		byKind[w.Source.Kind] = append(byKind[w.Source.Kind], w)
	}
	return errors.Join(
		r.each(ctx, byKind[KindFile], r.file),
		r.maven(ctx, byKind[KindMaven]),
		r.each(ctx, byKind[KindURL], r.url),
	)
}

// each runs f on all, a few at a time, and joins the errors.
func (r *resolver) each(ctx context.Context, all []wanted, f func(context.Context, wanted) error) error {
	errs := make([]error, len(all))
	g := errgroup.Group{}
	g.SetLimit(fetchers)
	for i, w := range all {
		g.Go(func() error {
			if errs[i] = ctx.Err(); errs[i] != nil {
				return nil
			}
			if errs[i] = f(ctx, w); errs[i] == nil {
				r.track.done(w.Entry)
			}
			return nil
		})
	}
	_ = g.Wait()
	return errors.Join(errs...)
}

func (r *resolver) file(ctx context.Context, w wanted) error {
	if w.lock.Files == nil {
		return fmt.Errorf("cannot resolve %s of set %s: the lock was loaded without its folder", w.Source, w.lock.Name)
	}
	f, err := w.lock.Files.Open(path.Clean(w.Source.File))
	if err != nil {
		return fmt.Errorf("cannot resolve %s of set %s: %w", w.Source, w.lock.Name, err)
	}
	defer f.Close()
	return r.keep(ctx, w, f)
}

// keep stores what r reads if it is what the lock says.
func (r *resolver) keep(ctx context.Context, w wanted, in io.Reader) error {
	_, _, err := r.cache.store(ctx, io.LimitReader(in, w.Size+1), expect(w.Entry))
	if err != nil {
		return fmt.Errorf("cannot resolve set %s: %w", w.lock.Name, err)
	}
	return nil
}

// keepFile is keep of a file on disk. A file that is not there, or has
// another size or content, is an error.
func (r *resolver) keepFile(ctx context.Context, w wanted, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return r.keep(ctx, w, f)
}

func (r *resolver) url(ctx context.Context, w wanted) error {
	err := r.cache.fetchOne(ctx, w.Entry, urlFetcher{r.cache.cfg.HTTP, w.Source.URL})
	if err != nil {
		return fmt.Errorf("cannot resolve set %s: cannot fetch %s: %w", w.lock.Name, w.Source.URL, err)
	}
	return nil
}

// urlFetcher reads one URL, by range where the server has ranges.
type urlFetcher struct {
	client *http.Client
	url    string
}

func (u urlFetcher) FetchBlob(ctx context.Context, _ string, offset int64) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.url, nil)
	if err != nil {
		return nil, permanentError{err}
	}
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := u.client.Do(req)
	if err != nil {
		return nil, err
	}
	switch {
	case resp.StatusCode == http.StatusPartialContent && offset > 0:
		return resp.Body, nil
	case resp.StatusCode == http.StatusOK:
		// A server without ranges sends all of it again.
		if _, err := io.CopyN(io.Discard, resp.Body, offset); err != nil {
			resp.Body.Close()
			return nil, err
		}
		return resp.Body, nil
	}
	resp.Body.Close()
	err = fmt.Errorf("the server answers %s", resp.Status)
	if resp.StatusCode >= 400 && resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
		err = permanentError{err}
	}
	return nil, err
}

// maven takes what the local repository has, lets Maven fetch the rest, and
// takes that.
func (r *resolver) maven(ctx context.Context, all []wanted) error {
	rest, _ := r.fromRepository(ctx, all, guessRepositories())
	if len(rest) == 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	run := &mavenRun{command: r.cache.cfg.Maven, log: r.cache.cfg.Log, onFetched: func(w wanted) { r.track.done(w.Entry) }}
	repo, runErr := run.fetch(ctx, r.cache, rest)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var errs []error
	if repo != "" {
		rest, errs = r.fromRepository(ctx, rest, []string{repo})
	}
	if len(rest) == 0 {
		return nil
	}
	// A file that came and differs is the better explanation than whatever
	// Maven said, if it said anything.
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if runErr != nil {
		return runErr
	}
	return fmt.Errorf("cannot resolve set %s: Maven reported success but left no %s in its local repository", rest[0].lock.Name, rest[0].Source)
}

// fromRepository stores what Maven repositories on this disk have with the
// right digest, and returns the rest; errs tells of those that are there and
// differ.
func (r *resolver) fromRepository(ctx context.Context, all []wanted, repos []string) (rest []wanted, errs []error) {
	kept := make([]bool, len(all))
	found := make([]error, len(all))
	g := errgroup.Group{}
	g.SetLimit(fetchers)
	for i, w := range all {
		g.Go(func() error {
			for _, repo := range repos {
				file := filepath.Join(repo, filepath.FromSlash(w.Source.Maven.repoPath()))
				err := r.keepFile(ctx, w, file)
				if err == nil {
					kept[i] = true
					r.track.done(w.Entry)
					return nil
				}
				if isMismatch(err) {
					err = fmt.Errorf("%w: the file %s or the registry's is another one; if the file is damaged, delete it and try again", err, file)
				}
				if !errors.Is(err, os.ErrNotExist) {
					found[i] = err
				}
			}
			return nil
		})
	}
	_ = g.Wait()
	for i, w := range all {
		if !kept[i] {
			rest = append(rest, w)
			if found[i] != nil {
				errs = append(errs, found[i])
			}
		}
	}
	return rest, errs
}
