package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	successFile  = "_SUCCESS"
	tmpFolder    = "_tmp"
	claimsFolder = "_claims" // of instances that share the parts of a dataset
	manifestName = "howdah.dataset/1"
	maxManifest  = 16 << 20
	// writers is how many parts are written at the same time.
	writers = 3
)

// Manifest is what an ingest step writes into _SUCCESS, last of all.
type Manifest struct {
	Format   string         `json:"format" doc:"howdah.dataset/1"`
	Pipeline string         `json:"pipeline" doc:"Pipeline that wrote the dataset"`
	Run      string         `json:"run" doc:"Run that wrote the dataset"`
	Written  time.Time      `json:"written" doc:"When it was complete"`
	Files    int            `json:"files" doc:"Local files that were joined"`
	Bytes    int64          `json:"bytes" doc:"Bytes of those files"`
	Digest   string         `json:"digest" doc:"SHA-256 over path, size and SHA-256 of each file"`
	PartMB   int            `json:"partMB" doc:"Size of a part that was asked for"`
	Parts    []ManifestPart `json:"parts" doc:"The dataset's files"`
}

// ManifestPart is one file of a dataset.
type ManifestPart struct {
	Name  string `json:"name" doc:"Name of the file"`
	Files int    `json:"files" doc:"Local files in it"`
	Bytes int64  `json:"bytes" doc:"Bytes, line ends that were added included"`
	Task  string `json:"task,omitempty" doc:"Task of a cell that wrote it"`
}

// ReadManifest returns the manifest of a dataset; fs.ErrNotExist if there is
// none, because the dataset is missing or not complete.
func ReadManifest(ctx context.Context, files Reader, dataset string) (Manifest, error) {
	name := path.Join(dataset, successFile)
	data, err := readSmall(ctx, files, name, maxManifest)
	if err != nil {
		return Manifest{}, fmt.Errorf("cannot read manifest: %w", err)
	}
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil || m.Format != manifestName {
		return Manifest{}, fmt.Errorf("cannot read manifest: %s holds none: %w", name, fs.ErrNotExist)
	}
	return m, nil
}

// ingest joins local files into a dataset.
func (r *run) ingest(ctx context.Context, s Step, p *progress) error {
	in := s.Ingest
	p.say("reading " + in.From)
	t, err := scan(ctx, in.From, in.Match)
	if err != nil {
		return err
	}
	parts := split(t.files, int64(in.PartMB)<<20)
	p.input(Input{Step: s.Name, Path: in.From, Digest: t.digest})
	p.update(func(f *Figures) { f.FilesTotal, f.BytesTotal = int64(len(t.files)), t.bytes })
	entries, err := list(ctx, r.Files, in.Dataset)
	if err != nil {
		return fmt.Errorf("cannot look at dataset: %w", err)
	}
	m, err := ReadManifest(ctx, r.Files, in.Dataset)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && m.Digest == t.digest && m.PartMB == in.PartMB && m.complete(entries) {
		p.update(func(f *Figures) { f.Files, f.Bytes, f.Parts = int64(m.Files), m.Bytes, int64(len(m.Parts)) })
		p.say("kept: " + in.Dataset + " holds the same input")
		return nil
	}
	if err := r.clearDataset(ctx, in.Dataset, entries); err != nil {
		return err
	}
	return r.writeDataset(ctx, in, t, parts, p)
}

// complete reports whether a listing holds every part in its size, and no other.
func (m Manifest) complete(entries []Entry) bool {
	sizes := map[string]int64{}
	for _, e := range entries {
		serves := e.Folder && (e.Name == claimsFolder || e.Name == tmpFolder)
		if e.Name != successFile && !serves {
			sizes[e.Name] = e.Bytes
		}
	}
	for _, part := range m.Parts {
		if size, ok := sizes[part.Name]; !ok || size != part.Bytes {
			return false
		}
		delete(sizes, part.Name)
	}
	return len(sizes) == 0
}

var datasetEntry = regexp.MustCompile(`^(part-\d{5,}|_SUCCESS|_tmp|_claims)$`)

// clearDataset removes what an ingest wrote, _SUCCESS first, and refuses where
// there is anything else. The folder itself stays: it may have a quota.
func (r *run) clearDataset(ctx context.Context, dataset string, entries []Entry) error {
	var foreign []string
	for _, e := range entries {
		if !datasetEntry.MatchString(e.Name) {
			foreign = append(foreign, e.Name)
		}
	}
	if len(foreign) > 0 {
		return fmt.Errorf("%s holds what no ingest wrote: %s; move it away or choose another dataset", dataset, few(foreign))
	}
	names := []string{successFile} // first: what is half removed must not look complete
	for _, e := range entries {
		names = append(names, e.Name)
	}
	for _, name := range names {
		if err := r.Files.Remove(ctx, path.Join(dataset, name)); err != nil {
			return fmt.Errorf("cannot remove the dataset of an earlier run: %w", err)
		}
	}
	return nil
}

func few(names []string) string {
	const most = 5
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

func (r *run) writeDataset(ctx context.Context, in *Ingest, t *tree, parts []part, p *progress) error {
	p.say("joining " + plural(len(t.files), "file") + " into " + plural(len(parts), "part"))
	m := Manifest{
		Format: manifestName, Pipeline: r.Definition.Name, Run: r.id, Files: len(t.files), Bytes: t.bytes,
		Digest: t.digest, PartMB: in.PartMB, Parts: make([]ManifestPart, len(parts)),
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(writers)
	for i, part := range parts {
		g.Go(func() error {
			n, err := r.writePart(gctx, in.Dataset, t, part, p)
			m.Parts[i] = ManifestPart{Name: part.name, Files: len(part.files), Bytes: n}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	m.Written = time.Now().UTC()
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := r.Files.Create(ctx, path.Join(in.Dataset, tmpFolder, successFile), strings.NewReader(string(data)+"\n")); err != nil {
		return fmt.Errorf("cannot write manifest: %w", err)
	}
	if err := r.Files.Rename(ctx, path.Join(in.Dataset, tmpFolder, successFile), path.Join(in.Dataset, successFile)); err != nil {
		return fmt.Errorf("cannot write manifest: %w", err)
	}
	return r.Files.Remove(ctx, path.Join(in.Dataset, tmpFolder))
}

func (r *run) writePart(ctx context.Context, dataset string, t *tree, part part, p *progress) (int64, error) {
	tmp, final := path.Join(dataset, tmpFolder, part.name), path.Join(dataset, part.name)
	n, err := stream(ctx, r.Files, tmp, func(w io.Writer) error {
		return t.writePart(ctx, part, w, func(files int, bytes int64) {
			p.update(func(f *Figures) { f.Files += int64(files); f.Bytes += bytes })
		})
	})
	if err == nil {
		err = r.Files.Rename(ctx, tmp, final)
	}
	if err != nil {
		return n, fmt.Errorf("cannot write %s: %w", final, err)
	}
	p.update(func(f *Figures) { f.Parts++ })
	return n, nil
}
