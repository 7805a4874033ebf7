package stack

import (
	"io/fs"
	"testing/fstest"
)

// bundleFS presents kept files as a file system.
func bundleFS(files map[string][]byte) fs.FS {
	m := make(fstest.MapFS, len(files))
	for name, data := range files {
		m[name] = &fstest.MapFile{Data: data, Mode: 0o444}
	}
	return m
}
