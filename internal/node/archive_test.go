package node

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"

	"howdah.dev/howdah/internal/agentapi"
)

// TestPack: what matches is packed once, in the order of the patterns; links are
// not followed, and a pattern cannot leave the directory.
func TestPack(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"current/VERSION": "v", "current/seen_txid": "3", "current/edits_1-2": "one", "current/edits_inprogress_3": "two", "other": "x"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "current", "edits_9-9")); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "a")
	sent, err := pack(t.Context(), to, agentapi.Archived{Dir: dir, Files: []string{"current/seen_txid", "current/V*", "current/edits_*-*", "current/seen_txid", "../*"}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(to)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() != sent.Bytes || st.Mode().Perm() != 0o600 || sent.Files != 3 {
		t.Errorf("%+v of %v, %v", sent, st, err)
	}
	zr, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for tr := tar.NewReader(zr); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, h.Name+" "+string(text))
	}
	if diff := cmp.Diff([]string{"current/seen_txid 3", "current/VERSION v", "current/edits_1-2 one"}, got); diff != "" {
		t.Error(diff)
	}

	if sent, err := pack(t.Context(), to, agentapi.Archived{Dir: dir, Files: []string{"none*"}}); err != nil || sent.Files != 0 || sent.Bytes == 0 {
		t.Errorf("nothing that matches: %+v, %v", sent, err)
	}
	if _, err := pack(t.Context(), to, agentapi.Archived{Dir: dir, Files: []string{"none"}}); err == nil || err.Error() != "there is no none in "+dir {
		t.Errorf("a file that must be there: %v", err)
	}
	if _, err := pack(t.Context(), to, agentapi.Archived{Dir: dir + "-not", Files: []string{"*"}}); err == nil {
		t.Error("a directory that is not there was copied")
	}
}
