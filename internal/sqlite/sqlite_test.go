package sqlite_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"howdah.dev/howdah/internal/sqlite"
)

var (
	first  = &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE a (v TEXT) STRICT;\nINSERT INTO a VALUES ('kept');\n")}
	second = &fstest.MapFile{Data: []byte("-- +goose Up\nUPDATE a SET v = 'changed';\n")}
	broken = &fstest.MapFile{Data: []byte("-- +goose Up\nUPDATE nowhere SET v = 1;\n")}
)

func value(t *testing.T, path string, files fstest.MapFS) (v string) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path, files)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Read.QueryRow("SELECT v FROM a").Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestMigrate: a new file is brought up to date, an old one after a copy was
// made, and a newer one is refused.
func TestMigrate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	one := fstest.MapFS{"00001_a.sql": first}
	two := fstest.MapFS{"00001_a.sql": first, "00002_b.sql": second}
	if v := value(t, path, one); v != "kept" {
		t.Errorf("a new database holds %q", v)
	}
	if names, _ := filepath.Glob(path + ".before-*"); len(names) > 0 {
		t.Errorf("%v without an older schema", names)
	}
	if v := value(t, path, two); v != "changed" {
		t.Errorf("the migrated database holds %q", v)
	}
	if v := value(t, path+".before-2", one); v != "kept" {
		t.Errorf("the copy holds %q", v)
	}
	_, err := sqlite.Open(t.Context(), path, one)
	want := "database is newer than this howdah: " + path + " has schema 2, this binary knows 1; run the newer binary, or restore a backup, or the copy made before a migration: " + path + ".before-2"
	if !errors.Is(err, sqlite.ErrNewer) || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	if err := sqlite.Check(t.Context(), path, one); !errors.Is(err, sqlite.ErrNewer) || err.Error() != want {
		t.Errorf("checked: %v", err)
	}
	if err := sqlite.Check(t.Context(), path, two); err != nil {
		t.Errorf("checked: %v", err)
	}
}

func TestFailedMigrationChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	one := fstest.MapFS{"00001_a.sql": first}
	value(t, path, one)
	if _, err := sqlite.Open(t.Context(), path, fstest.MapFS{"00001_a.sql": first, "00002_b.sql": broken}); err == nil {
		t.Fatal("a broken migration was applied")
	}
	if v := value(t, path, one); v != "kept" {
		t.Errorf("after a failed migration the database holds %q", v)
	}
}

func TestReadersCannotWrite(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"), fstest.MapFS{"00001_a.sql": first})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Read.Exec("DELETE FROM a"); err == nil {
		t.Error("a reader deleted rows")
	}
}

// TestDamaged: a file that is cut, written over or no database at all is refused, and
// is byte for byte what it was.
func TestDamaged(t *testing.T) {
	one := fstest.MapFS{"00001_a.sql": first}
	for _, tt := range []struct {
		name   string
		damage func([]byte) []byte
	}{
		{"no database", func([]byte) []byte { return []byte(strings.Repeat("a text of somebody else\n", 400)) }},
		{"cut", func(b []byte) []byte { return b[:len(b)-5000] }},
		{"written over", func(b []byte) []byte {
			for i := 4096; i < len(b); i++ {
				b[i] = byte(i * 7)
			}
			return b
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db")
			value(t, path, one)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			data = tt.damage(data)
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path+".before-7", nil, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = sqlite.Open(t.Context(), path, one)
			if !errors.Is(err, sqlite.ErrDamaged) {
				t.Fatalf("it is opened: %v", err)
			}
			for _, want := range []string{"database is damaged: " + path + ": ", "nothing was written to it; restore a backup, or the copy made before a migration: " + path + ".before-7"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
			if err := sqlite.Check(t.Context(), path, one); !errors.Is(err, sqlite.ErrDamaged) {
				t.Errorf("checked: %v", err)
			}
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, data) {
				t.Errorf("the damaged file was changed: %v", err)
			}
		})
	}
}
