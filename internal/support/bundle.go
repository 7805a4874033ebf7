package support

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"github.com/klauspost/compress/gzip"

	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/server"
)

// maxBundle bounds what a bundle holds before it is compressed, in bytes.
const maxBundle = 128 << 20

// Config says what is collected, and to where.
type Config struct {
	Home    server.Home
	Client  *client.Client
	File    string
	Tail    int64 // of each log, in bytes
	Version string
	Build   string
	// Patience is for the server's first answer; 10 s where it is 0.
	Patience time.Duration
}

// About is the bundle's first member: what it is and what it lacks.
type About struct {
	Howdah  string    `json:"howdah"`
	Build   string    `json:"build"`
	Home    string    `json:"home"`
	Created time.Time `json:"created"`
	Server  string    `json:"server"`
	Members []string  `json:"members"`
	Lacks   []string  `json:"lacks"` // what could not be had, and why
}

// bundle is one that is being collected.
type bundle struct {
	cfg      Config
	redactor *redactor
	about    About
	size     int64
	members  []member
}

type member struct {
	name string
	data []byte
}

// Write collects a bundle into a file, for its owner only. Every byte of it went
// through the redactor and is looked at once more before it is written.
func Write(ctx context.Context, cfg Config) (About, error) {
	b := &bundle{cfg: cfg, about: About{Howdah: cfg.Version, Build: cfg.Build, Home: cfg.Home.Dir, Created: time.Now().UTC(), Members: []string{}, Lacks: []string{}}}
	var problems []error
	b.redactor, problems = newRedactor(cfg.Home)
	for _, err := range problems {
		b.miss("a secret to look for", err)
	}
	b.collect(ctx)
	if err := ctx.Err(); err != nil {
		return b.about, context.Cause(ctx)
	}
	return b.about, b.write()
}

// miss notes what the bundle lacks.
func (b *bundle) miss(name string, err error) {
	b.about.Lacks = append(b.about.Lacks, string(b.redactor.clean([]byte(fmt.Sprintf("%s: %v", name, err)))))
}

// put adds a value as JSON.
func (b *bundle) put(name string, v any) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // a secret must look here as it does elsewhere
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		b.miss(name, err)
		return
	}
	b.add(name, out.Bytes())
}

// add adds a text without its secrets.
func (b *bundle) add(name string, data []byte) {
	data = b.redactor.clean(data)
	switch {
	case !b.redactor.sure(data):
		b.miss(name, errors.New("left out: it may hold a secret"))
	case b.size+int64(len(data)) > maxBundle:
		b.miss(name, fmt.Errorf("left out: the bundle has %d MiB already", b.size>>20))
	default:
		b.size += int64(len(data))
		b.members = append(b.members, member{name, data})
		b.about.Members = append(b.about.Members, name)
	}
}

func (b *bundle) write() error {
	about, err := json.MarshalIndent(b.about, "", "  ")
	if err != nil {
		return err
	}
	file, err := filepath.Abs(b.cfg.File)
	if err != nil {
		return err
	}
	out, err := renameio.NewPendingFile(file, renameio.WithPermissions(0o600), renameio.WithTempDir(filepath.Dir(file)))
	if err != nil {
		return fmt.Errorf("cannot write bundle: %w", err)
	}
	defer out.Cleanup() //nolint:errcheck // nothing is left to clean up after the rename
	zw := gzip.NewWriter(out)
	tw := tar.NewWriter(zw)
	for _, m := range append([]member{{"about.json", about}}, b.members...) {
		err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "howdah-support/" + m.name, Mode: 0o600, Size: int64(len(m.data)), ModTime: b.about.Created})
		if err == nil {
			_, err = tw.Write(m.data)
		}
		if err != nil {
			return fmt.Errorf("cannot write bundle %s: %w", b.cfg.File, err)
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		return fmt.Errorf("cannot write bundle %s: %w", b.cfg.File, err)
	}
	if err := out.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("cannot write bundle %s: %w", b.cfg.File, err)
	}
	return nil
}
