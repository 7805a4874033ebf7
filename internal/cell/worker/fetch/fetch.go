// Package fetch brings what a task wants fetched into its sandbox: files by HTTP and
// HTTPS, unpacked where they are archives. Everything it meets is hostile: addresses,
// redirects, sizes, names in archives. Nothing is written outside of the sandbox.
//
// It knows nothing of tasks.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Config of fetching.
type Config struct {
	// Blocked tells whether an address must not be fetched from. It is asked after
	// names were resolved, and for each redirect. Nil blocks nothing.
	Blocked func(netip.Addr) bool
	// The limits are of all items of one call together.
	MaxBytes int64         // of files, and of what archives unpack to; 4 GiB if zero
	MaxFiles int           // in archives; 100,000 if zero
	Time     time.Duration // 10 minutes if zero
}

// Item is something to fetch.
type Item struct {
	URI        string
	File       string // path below the sandbox; empty: the last part of the URI
	Extract    bool   // if it is an archive
	Executable bool
}

const maxRedirects = 5

func (c *Config) complete() {
	if c.MaxBytes == 0 {
		c.MaxBytes = 4 << 30
	}
	if c.MaxFiles == 0 {
		c.MaxFiles = 100_000
	}
	if c.Time == 0 {
		c.Time = 10 * time.Minute
	}
}

// fetching is one call of Fetch.
type fetching struct {
	*Config
	root  *os.Root
	bytes int64 // that may still be written
	files int   // that were in archives
}

// Fetch brings items into the folder, one after the other.
func Fetch(ctx context.Context, cfg Config, dir string, items ...Item) error {
	cfg.complete()
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.Time, fmt.Errorf("not everything was here after %s", cfg.Time))
	defer cancel()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("cannot fetch into %s: %w", dir, err)
	}
	defer root.Close()
	f := &fetching{Config: &cfg, root: root, bytes: cfg.MaxBytes}
	for _, item := range items {
		err := f.fetch(ctx, item)
		if errors.Is(err, context.DeadlineExceeded) {
			err = context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("cannot fetch %s: %w", shown(item.URI), err)
		}
	}
	return nil
}

// shown is a URI without what may be secret in it.
func shown(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return fmt.Sprintf("%.100q", uri)
	}
	u.RawQuery, u.Fragment = "", ""
	return u.Redacted()
}

func (f *fetching) fetch(ctx context.Context, item Item) error {
	u, err := url.Parse(item.URI)
	switch {
	case err != nil:
		return errors.New("it is not a URI")
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("the scheme %q is not supported: use http or https", u.Scheme)
	case u.Host == "":
		return errors.New("it names no host")
	}
	client := f.client()
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, item.URI, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return plain(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answers %s", resp.Status)
	}
	name, err := fileName(item, u, resp)
	if err != nil {
		return err
	}
	if err := f.save(name, resp.Body, resp.ContentLength, item.Executable); err != nil {
		return err
	}
	if item.Extract {
		return f.extract(ctx, name)
	}
	return nil
}

// client checks each address it connects to, whatever name or redirect led there.
func (c *Config) client() *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		if c.Blocked != nil && c.Blocked(to.Addr().Unmap()) {
			return fmt.Errorf("the address %s may not be fetched from", to.Addr())
		}
		return nil
	}}
	return &http.Client{
		// No proxy: it would connect where we may not.
		Transport: &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: time.Minute},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return fmt.Errorf("there are more than %d redirects", maxRedirects)
			}
			if r.URL.Scheme != "http" && r.URL.Scheme != "https" {
				return fmt.Errorf("it redirects to the scheme %q", r.URL.Scheme)
			}
			return nil
		},
	}
}

// plain takes the request out of an error: it was named already, and may be secret.
func plain(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	if oe, ok := errors.AsType[*net.OpError](err); ok {
		err = oe.Err
	}
	return err
}

func fileName(item Item, u *url.URL, resp *http.Response) (string, error) {
	if item.File != "" {
		if !filepath.IsLocal(item.File) || item.File == "." {
			return "", fmt.Errorf("%q would be written outside of the sandbox", item.File)
		}
		return filepath.Clean(item.File), nil
	}
	name := path.Base(u.Path)
	if name == "/" || name == "." { // of http://host/
		if _, params, err := mime.ParseMediaType(resp.Header.Get("Content-Disposition")); err == nil {
			name = params["filename"]
		}
	}
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return "", errors.New("the URI ends in no file name; give the file a path")
	}
	return name, nil
}

// save writes a file. What was there goes: the later counts.
func (f *fetching) save(name string, r io.Reader, size int64, executable bool) error {
	if size > f.bytes {
		return fmt.Errorf("it has %d bytes; %w", size, f.tooMuch())
	}
	if err := f.root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return inside(name, err)
	}
	mode := os.FileMode(0o644)
	if executable {
		mode = 0o755
	}
	return f.write(name, r, mode)
}

// write makes a file anew.
func (f *fetching) write(name string, r io.Reader, mode os.FileMode) error {
	if err := f.root.RemoveAll(name); err != nil {
		return inside(name, err)
	}
	file, err := f.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return inside(name, err)
	}
	n, err := io.Copy(file, io.LimitReader(r, f.bytes+1))
	if f.bytes -= n; err == nil && f.bytes < 0 {
		err = f.tooMuch()
	}
	if err == nil {
		err = file.Chmod(mode)
	}
	return errors.Join(err, file.Close())
}

func (f *fetching) tooMuch() error {
	return fmt.Errorf("all that is fetched and unpacked may have %d bytes", f.MaxBytes)
}

// inside puts an error about the border of the sandbox in words.
func inside(name string, err error) error {
	if strings.Contains(err.Error(), "path escapes") { // os.Root exports no error for it
		return fmt.Errorf("%q would be written outside of the sandbox", name)
	}
	return err
}
