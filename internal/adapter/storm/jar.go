package storm

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// resourcesDir is the folder of a topology jar that Storm unpacks for shell
// components; they start inside it. It sets no execute bits.
const resourcesDir = "resources/"

// jarTime is the time of every entry, so that equal inputs make equal jars. It
// is the earliest a zip file can hold.
var jarTime = time.Date(1980, time.January, 1, 0, 0, 0, 0, time.UTC)

// Inputs are the parts of a topology jar.
type Inputs struct {
	// Flux is flux-core's jar; everything but its sample resources and its
	// signatures is copied.
	Flux *zip.Reader
	// User is the topology's own jar; its entries win over Flux's. May be nil.
	User *zip.Reader
	// Resources are the files of shell components by name, slashes allowed.
	// They win over the user's jar.
	Resources map[string][]byte
	// Files are put beside the classes, for example hdfs-site.xml: workers
	// have the jar on their classpath.
	Files map[string][]byte
}

// BuildTopologyJar writes the jar a Flux topology is submitted with. Equal
// inputs give equal bytes.
func BuildTopologyJar(w io.Writer, in Inputs) error {
	if err := buildJar(w, in); err != nil {
		return fmt.Errorf("cannot build topology jar: %w", err)
	}
	return nil
}

// jarEntry is one file of the jar, from another archive or from memory.
type jarEntry struct {
	from *zip.File
	data []byte
}

func buildJar(w io.Writer, in Inputs) error {
	if in.Flux == nil {
		return errors.New("flux-core's jar is missing")
	}
	entries := map[string]jarEntry{}
	addArchive(entries, in.Flux, func(name string) bool { return !strings.HasPrefix(name, resourcesDir) })
	if in.User != nil {
		addArchive(entries, in.User, func(string) bool { return true })
	}
	if err := addFiles(entries, "", in.Files); err != nil {
		return err
	}
	if err := addFiles(entries, resourcesDir, in.Resources); err != nil {
		return err
	}
	zw := zip.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		if err := writeEntry(zw, name, entries[name]); err != nil {
			return fmt.Errorf("entry %s: %w", name, err)
		}
	}
	return zw.Close()
}

func addArchive(entries map[string]jarEntry, r *zip.Reader, want func(name string) bool) {
	for _, f := range r.File {
		if !f.FileInfo().IsDir() && want(f.Name) && !isSignature(f.Name) {
			entries[f.Name] = jarEntry{from: f}
		}
	}
}

func addFiles(entries map[string]jarEntry, folder string, files map[string][]byte) error {
	for name, data := range files {
		if name == "" || path.IsAbs(name) || path.Clean(name) != name || strings.HasPrefix(name, "../") || name == ".." || name == "." {
			return fmt.Errorf("file name %q is no relative path", name)
		}
		entries[folder+name] = jarEntry{data: data}
	}
	return nil
}

// isSignature reports whether an entry signs a jar; a signature of one part
// makes the whole unreadable to Java.
func isSignature(name string) bool {
	if path.Dir(name) != "META-INF" {
		return false
	}
	switch strings.ToUpper(path.Ext(name)) {
	case ".SF", ".RSA", ".DSA", ".EC":
		return true
	}
	return false
}

func writeEntry(zw *zip.Writer, name string, e jarEntry) error {
	if e.from != nil {
		return copyEntry(zw, name, e.from)
	}
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: jarTime}
	out, err := zw.CreateHeader(h)
	if err != nil {
		return err
	}
	_, err = out.Write(e.data)
	return err
}

// copyEntry takes the compressed bytes as they are.
func copyEntry(zw *zip.Writer, name string, f *zip.File) error {
	h := &zip.FileHeader{
		Name:               name,
		Method:             f.Method,
		Flags:              f.Flags &^ 0x8, // sizes are known: no trailing descriptor
		CRC32:              f.CRC32,
		CompressedSize64:   f.CompressedSize64,
		UncompressedSize64: f.UncompressedSize64,
		Modified:           jarTime,
	}
	h.ModifiedDate, h.ModifiedTime = 0x21, 0 //nolint:staticcheck // 1 January 1980: CreateRaw takes no Modified
	raw, err := f.OpenRaw()
	if err != nil {
		return err
	}
	out, err := zw.CreateRaw(h)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, raw)
	return err
}
