package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"howdah.dev/howdah/internal/image/filelock"
	"howdah.dev/howdah/internal/pipeline"
)

// maxStored bounds a stored definition, in bytes.
const maxStored = 16 << 20

// storedPipeline is a definition as the home keeps it: the text, and the file it
// came from, which relative paths start at.
type storedPipeline struct {
	Name       string    `json:"name"`
	File       string    `json:"file"`
	Applied    time.Time `json:"applied"`
	Definition string    `json:"definition"`
}

// storePipeline keeps the definition in a file under its name, and reports
// whether that changed anything.
func (a *app) storePipeline(name, file string) (bool, error) {
	file, err := filepath.Abs(file)
	if err != nil {
		return false, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return false, fmt.Errorf("cannot read pipeline: %w", err)
	}
	if had, err := a.storedPipeline(name); err == nil && had.File == file && had.Definition == string(text) {
		return false, nil
	}
	data, err := json.MarshalIndent(storedPipeline{name, file, time.Now().UTC(), string(text)}, "", "  ")
	if err != nil {
		return false, err
	}
	if err := os.MkdirAll(a.home.Pipelines(), 0o700); err != nil {
		return false, fmt.Errorf("cannot store pipeline: %w", err)
	}
	tmp, err := os.CreateTemp(a.home.Pipelines(), ".new-")
	if err != nil {
		return false, fmt.Errorf("cannot store pipeline: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(data, '\n'))
	if err := errors.Join(err, tmp.Close()); err != nil {
		return false, fmt.Errorf("cannot store pipeline: %w", err)
	}
	return true, os.Rename(tmp.Name(), a.pipelineFile(name))
}

func (a *app) pipelineFile(name string) string {
	return filepath.Join(a.home.Pipelines(), name+".json")
}

// storedPipeline reads one stored definition.
func (a *app) storedPipeline(name string) (storedPipeline, error) {
	var s storedPipeline
	info, err := os.Stat(a.pipelineFile(name))
	if errors.Is(err, fs.ErrNotExist) || name != filepath.Base(name) {
		return s, &exitError{exitNotFound, fmt.Errorf("there is no pipeline %s; howdah pipeline apply FILE stores one, howdah pipeline get lists all", name)}
	}
	if err == nil && info.Size() > maxStored {
		err = fmt.Errorf("it has more than %d bytes", maxStored)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(a.pipelineFile(name))
	}
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		return s, fmt.Errorf("cannot read the stored pipeline %s: %w", name, err)
	}
	return s, nil
}

// storedPipelines lists the stored definitions by name.
func (a *app) storedPipelines() ([]storedPipeline, error) {
	entries, err := os.ReadDir(a.home.Pipelines())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot list pipelines: %w", err)
	}
	var out []storedPipeline
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || strings.HasPrefix(name, ".") {
			continue
		}
		s, err := a.storedPipeline(name)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// warehouseOf says where a stored definition keeps its datasets, without looking
// at local files: they may have gone since.
func (s storedPipeline) warehouseOf() (string, error) {
	d, ds := pipeline.Parse(s.File, []byte(s.Definition))
	if d == nil {
		return "", ds
	}
	return d.Warehouse, nil
}

// findPipeline loads the pipeline that a word means: a file, a directory with a
// pipeline.yaml, or the name of a stored one.
func (a *app) findPipeline(ctx context.Context, word string) (d *pipeline.Definition, file string, err error) {
	if info, err := os.Stat(word); err == nil {
		if info.IsDir() {
			word = filepath.Join(word, "pipeline.yaml")
		}
		d, ds := pipeline.Load(ctx, word)
		if d == nil {
			return nil, word, ds
		}
		return d, word, nil
	}
	if strings.ContainsAny(word, "/.") {
		return nil, "", &exitError{exitNotFound, fmt.Errorf("there is no %s", word)}
	}
	s, err := a.storedPipeline(word)
	if err != nil {
		return nil, "", err
	}
	d, ds := pipeline.LoadText(ctx, s.File, []byte(s.Definition))
	if d == nil {
		return nil, "", ds
	}
	return d, "", nil
}

// lockPipeline makes sure that one run of a pipeline goes on at a time. The lock
// goes with its holder.
func (a *app) lockPipeline(name string) (unlock func(), err error) {
	unlock, err = filelock.Try(filepath.Join(a.home.Pipelines(), name+".lock"), filelock.Exclusive)
	if errors.Is(err, filelock.ErrHeld) {
		return nil, &exitError{exitGuard, fmt.Errorf("pipeline %s is running already; see how it goes with: howdah pipeline explain %s", name, name)}
	}
	return unlock, err
}
