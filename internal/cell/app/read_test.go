package app

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/golden"
)

func cell() Limits { return Limits{Role: "*", Roles: []string{"prod"}, Network: "net"} }

func mustRead(t *testing.T, body string) *App {
	t.Helper()
	u, err := ReadApp([]byte(body), "/")
	if err != nil {
		t.Fatalf("ReadApp: %v", err)
	}
	a, err := u.New(cell())
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return a
}

func encode(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}

// TestCanonical reads apps of all ages and compares what they become.
func TestCanonical(t *testing.T) {
	files, err := filepath.Glob("testdata/read/*.in.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".in.json"), func(t *testing.T) {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			a := mustRead(t, string(body))
			out := encode(t, a)
			golden.Compare(t, "read/"+filepath.Base(strings.Replace(file, ".in.", ".out.", 1)), out)
			validates(t, "app.json", []byte(out))
			if again := encode(t, mustRead(t, out)); again != out {
				t.Errorf("read back it differs:\n%s", cmp.Diff(out, again))
			}
		})
	}
}
