package cli

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/image/imagestore"
	"howdah.dev/howdah/internal/image/registry"
	"howdah.dev/howdah/internal/server"
)

// registryAt serves the registry as a home's server does, on its unix socket.
func registryAt(t *testing.T, home server.Home) {
	t.Helper()
	store, err := imagestore.Open(imagestore.Config{Dir: home.Images()})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(home.Socket()), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", home.Socket())
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: registry.New(registry.Config{Store: store, Authorize: func(*http.Request, string, string) error { return nil }})}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// howdah runs a command line and returns what it prints, digests shortened.
func howdah(t *testing.T, home server.Home, in string, words ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	a := &app{home: home, out: &out, err: &out, in: strings.NewReader(in)}
	root := a.root()
	root.SetArgs(append([]string{"--home", home.Dir}, words...))
	err := root.ExecuteContext(t.Context())
	return regexp.MustCompile(`sha256:[0-9a-f]{64}`).ReplaceAllString(out.String(), "sha256:…"), err
}

func TestImage(t *testing.T) {
	home := server.Home{Dir: t.TempDir()}
	registryAt(t, home)
	work := t.TempDir()
	src := filepath.Join(work, "src")
	if err := os.MkdirAll(src, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(src, "a.txt"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	tar := filepath.Join(work, "image.tar")
	for _, tt := range []struct {
		words string
		want  string // output, or the error
		code  int
	}{
		{"image list", "no images; make one with: howdah image pack PROGRAM NAME\n", 0},
		{"image pack " + src + " demo/files:v1 --layer " + src + ":/more --env A=b --label x=y", "demo/files:v1  5.0 KiB  sha256:…\n", 0},
		{"image pack " + src + " files --to " + tar, "default/files:latest  2.4 KiB  sha256:…\n", 0},
		{"image push " + tar + " files:v2", "default/files:v2  2.4 KiB  sha256:…\n", 0},
		{"image import " + tar + " demo/taken:v3 --pick files:latest", "demo/taken:v3  2.4 KiB  sha256:…\n", 0},
		{"image list", "IMAGE             SIZE     DIGEST\ndefault/files:v2  2.4 KiB  sha256:…\ndemo/files:v1     5.0 KiB  sha256:…\ndemo/taken:v3     2.4 KiB  sha256:…\n", 0},
		{"image list default", "IMAGE             SIZE     DIGEST\ndefault/files:v2  2.4 KiB  sha256:…\n", 0},
		{"image delete files:v2", "deleted default/files v2\n", 0},
		{"image delete files:v2", "there is no such image; howdah image list shows all", 3},
		{"image delete files@sha256:1", `"sha256:1" is no digest: write sha256: and 64 hexadecimal digits`, 2},
		{"image pack " + src + " BAD", `"default/BAD" is no name of a repository: use small letters, digits and single . _ - between them, parts joined by /`, 2},
		{"image pack " + src + " x --layer y", `--layer "y" is not FOLDER:TARGET`, 2},
		{"image pack " + src + " x --platform y", `"y" is no platform: write one like linux/amd64`, 2},
		{"image pack " + work + "/none x", "cannot read what to pack: stat " + work + "/none: no such file or directory", 2},
		{"image pack " + sh + " x --platform linux/s390x", "and the image is for linux/s390x: build it for that platform, or give its own", 2},
		{"image import " + src + "/a.txt x", "cannot import the image archive: it is no readable tar archive: unexpected EOF", 2},
		{"image import " + tar + " x --pick other:1", "cannot import the image archive: it does not hold other:1, but default/files:latest", 2},
	} {
		out, err := howdah(t, home, "", strings.Fields(tt.words)...)
		if tt.code == 0 && (err != nil || out != tt.want) {
			t.Errorf("%s: %v, printed\n%s", tt.words, err, out)
		}
		if tt.code == 0 {
			continue
		}
		if err == nil || !strings.Contains(strings.TrimPrefix(err.Error(), "Not Found: "), tt.want) {
			t.Errorf("%s:\ngot  %v\nwant %s", tt.words, err, tt.want)
		} else if code := (&app{out: &bytes.Buffer{}, err: &bytes.Buffer{}}).fail((&app{}).root(), err); code != tt.code {
			t.Errorf("%s: exit code %d, want %d", tt.words, code, tt.code)
		}
	}
	data, err := os.ReadFile(tar)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := howdah(t, home, string(data), "image", "import", "-", "demo/piped", "-o", "json"); err != nil || !strings.Contains(out, `"name": "demo/piped"`) {
		t.Errorf("%v, %s", err, out)
	}
}

func TestImageWithoutServer(t *testing.T) {
	home := server.Home{Dir: t.TempDir()}
	src := t.TempDir()
	for _, words := range [][]string{{"image", "list"}, {"image", "pack", src, "x"}, {"image", "delete", "x"}} {
		if _, err := howdah(t, home, "", words...); !errors.Is(err, client.ErrUnreachable) {
			t.Errorf("%v: got %v", words, err)
		}
	}
}
