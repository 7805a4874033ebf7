package process

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/renameio/v2"

	"howdah.dev/howdah/internal/tenant"
)

// TestRestrictions: a token is refused as soon as the file names it, and stays so when
// the file goes; a program does not begin with one it cannot read.
func TestRestrictions(t *testing.T) {
	dir := t.TempDir()
	authority, err := tenant.OpenAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	a := Access{Secret: filepath.Join(dir, "secret"), Authority: filepath.Join(dir, "ca.pem"), Restrictions: filepath.Join(dir, "restrictions")}
	write := func(file, text string) {
		if err := renameio.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(a.Secret, "a secret of the cell")
	begins := func(want string) {
		t.Helper()
		if _, err := a.open(); err == nil || !strings.Contains(err.Error(), "cannot read which tokens are revoked: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	begins("no such file")
	write(a.Restrictions, "{")
	begins("unexpected end of JSON input")
	write(a.Restrictions, `{"revoked":[]}`)
	g, err := a.open()
	if err != nil {
		t.Fatal(err)
	}
	text := func(id string) string {
		text, err := authority.Sign(tenant.Token{ID: id, Project: "shop", Role: tenant.Viewer})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	expect := func(when, id, want string) {
		t.Helper()
		_, err := g.who(asking(http.MethodGet, "/v2/apps", text(id)))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s: %q, want %q", when, id, got, want)
		}
	}
	const revoked = "the token gives no access: it was revoked"
	expect("at first", "t1", "")
	write(a.Restrictions, `{"revoked":["t1"]}`)
	expect("once revoked", "t1", revoked)
	expect("once another is revoked", "t2", "")
	write(a.Restrictions, `nonsense`)
	expect("with a damaged file", "t1", revoked)
	if err := os.Remove(a.Restrictions); err != nil {
		t.Fatal(err)
	}
	expect("without the file", "t1", revoked)
	expect("without the file", "t2", "")
	write(a.Restrictions, `{"revoked":["t1"],"maxLife":3600}`)
	expect("where tokens must end", "t2", "the token gives no access: it has no end, which is not allowed here; make another with: howdah token create --for 720h")
}
