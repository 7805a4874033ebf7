package pull_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"howdah.dev/howdah/internal/image/imagestore"
	"howdah.dev/howdah/internal/image/pull"
	"howdah.dev/howdah/internal/image/registry"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func store(t *testing.T) *imagestore.Store {
	t.Helper()
	s, err := imagestore.Open(imagestore.Config{Dir: t.TempDir()})
	ok(t, err)
	return s
}

func config(s *imagestore.Store) pull.Config {
	return pull.Config{Store: s, Log: slog.New(slog.DiscardHandler)}
}

// upstream is a real registry on 127.0.0.1 that counts requests. The user is
// "user", the password "secret".
type upstream struct {
	host string
	mu   sync.Mutex
	seen map[string]int // GETs by last part of the path
	bend func(w http.ResponseWriter, r *http.Request) bool
}

func serve(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{seen: map[string]int{}}
	h := registry.New(registry.Config{Store: store(t), Authorize: func(r *http.Request, _, _ string) error {
		if user, password, _ := r.BasicAuth(); user != "user" || password != "secret" {
			return registry.ErrUnauthenticated
		}
		return nil
	}})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		if r.Method == http.MethodGet {
			u.seen[r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]]++
		}
		bend := u.bend
		u.mu.Unlock()
		if bend == nil || !bend(w, r) {
			h.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	u.host = strings.TrimPrefix(srv.URL, "http://")
	return u
}

func (u *upstream) set(bend func(w http.ResponseWriter, r *http.Request) bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.bend = bend
}

var login = &authn.Basic{Username: "user", Password: "secret"}

// image makes an image for an architecture and pushes it.
func (u *upstream) image(t *testing.T, ref, arch string) v1.Image {
	t.Helper()
	img := platformImage(t, arch)
	ok(t, crane.Push(img, u.host+"/"+ref, crane.WithAuth(login)))
	return img
}

func platformImage(t *testing.T, arch string) v1.Image {
	t.Helper()
	img, err := random.Image(2000, 3)
	ok(t, err)
	conf, err := img.ConfigFile()
	ok(t, err)
	conf = conf.DeepCopy()
	conf.OS, conf.Architecture = "linux", arch
	img, err = mutate.ConfigFile(img, conf)
	ok(t, err)
	return img
}

func foreignArch() string {
	if runtime.GOARCH == "arm64" {
		return "amd64"
	}
	return "arm64"
}

func options() pull.Options {
	return pull.Options{Remote: pull.Remote{Credentials: pull.Basic("user", "secret"), PlainHTTP: true}}
}

func digest(t *testing.T, img v1.Image) v1.Hash {
	t.Helper()
	h, err := img.Digest()
	ok(t, err)
	return h
}

func TestPull(t *testing.T) {
	u := serve(t)
	img := u.image(t, "p/app:v1", runtime.GOARCH)
	p := pull.New(config(store(t)))
	opts := options()
	var last pull.Progress
	opts.Progress = func(now pull.Progress) { last = now }
	got, err := p.Pull(t.Context(), u.host+"/p/app:v1", opts)
	ok(t, err)
	if got.Manifest.Digest != digest(t, img) || got.Cached {
		t.Errorf("got %s, cached %v", got.Manifest.Digest, got.Cached)
	}
	if last.Blobs != 4 || last.From != 4 || last.Bytes != last.Of || last.Of == 0 {
		t.Errorf("progress ended at %+v", last)
	}
	for _, d := range got.Manifest.Blobs() {
		f, size, err := got.Repo.OpenBlob(d.Digest)
		ok(t, err)
		data, err := io.ReadAll(f)
		f.Close()
		if h, n, herr := v1.SHA256(bytes.NewReader(data)); err != nil || herr != nil || h != d.Digest || n != size {
			t.Errorf("%s is damaged", d.Digest)
		}
	}
	// Again: nothing is asked. By force: only the manifest.
	before := u.seen["v1"]
	if again, err := p.Pull(t.Context(), u.host+"/p/app:v1", options()); err != nil || !again.Cached || u.seen["v1"] != before {
		t.Errorf("%v, cached %v, asked %d times", err, again.Cached, u.seen["v1"]-before)
	}
	next := u.image(t, "p/app:v1", runtime.GOARCH)
	opts = options()
	opts.Force = true
	got, err = p.Pull(t.Context(), u.host+"/p/app:v1", opts)
	ok(t, err)
	if got.Manifest.Digest != digest(t, next) {
		t.Error("force did not see the moved tag")
	}
	byDigest, err := p.Pull(t.Context(), u.host+"/p/app@"+digest(t, img).String(), options())
	ok(t, err)
	if byDigest.Manifest.Digest != digest(t, img) {
		t.Error("by digest came another image")
	}
}

// TestScopes: what one may pull, another has to ask for.
func TestScopes(t *testing.T) {
	u := serve(t)
	u.image(t, "p/app:v1", runtime.GOARCH)
	p := pull.New(config(store(t)))
	opts := options()
	opts.Scope = "one"
	_, err := p.Pull(t.Context(), u.host+"/p/app:v1", opts)
	ok(t, err)
	opts = pull.Options{Remote: pull.Remote{PlainHTTP: true}, Scope: "two"}
	_, err = p.Pull(t.Context(), u.host+"/p/app:v1", opts)
	if e, is := errors.AsType[*pull.Error](err); !is || e.Reason != pull.Login {
		t.Errorf("got %v", err)
	}
}

func TestPullOfAnIndex(t *testing.T) {
	u := serve(t)
	want := platformImage(t, runtime.GOARCH)
	idx := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: platformImage(t, "s390x"), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}},
		mutate.IndexAddendum{Add: platformImage(t, "none"), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}}},
		mutate.IndexAddendum{Add: want, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}}})
	ref, err := name.ParseReference(u.host + "/p/multi:all")
	ok(t, err)
	ok(t, remote.WriteIndex(ref, idx, remote.WithAuth(login)))
	p := pull.New(config(store(t)))
	got, err := p.Pull(t.Context(), ref.Name(), options())
	ok(t, err)
	if got.Manifest.Digest != digest(t, want) {
		t.Errorf("got %s", got.Manifest.Digest)
	}
	opts := options()
	opts.Platform = v1.Platform{OS: "linux", Architecture: "riscv64"}
	_, err = p.Pull(t.Context(), ref.Name(), opts)
	archs := []string{"linux/" + runtime.GOARCH, "linux/s390x"}
	slices.Sort(archs)
	wantText := "cannot pull " + ref.Name() + ": it is for " + strings.Join(archs, ", ") + ", and this machine is linux/riscv64: build or choose an image for linux/riscv64"
	if err == nil || err.Error() != wantText {
		t.Errorf("got  %v\nwant %s", err, wantText)
	}
}

func TestSentences(t *testing.T) {
	u := serve(t)
	img := u.image(t, "p/app:v1", runtime.GOARCH)
	u.image(t, "p/app:foreign", foreignArch())
	layers, err := img.Layers()
	ok(t, err)
	layer, err := layers[1].Digest()
	ok(t, err)
	other := "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" // of hello
	size, err := layers[1].Size()
	ok(t, err)
	wrong := strings.Repeat("x", int(size))
	wrongDigest, _, err := v1.SHA256(strings.NewReader(wrong))
	ok(t, err)
	sayAt := func(part, text string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, part) {
				return false
			}
			io.WriteString(w, text)
			return true
		}
	}
	const down = "127.0.0.1:1" // a port that is given to nobody
	nobody := options()
	nobody.Credentials = pull.Credentials{}
	bad := options()
	bad.Credentials = pull.Basic("user", "wrong")
	secure := options()
	secure.PlainHTTP = false
	app := u.host + "/p/app:v1"
	for _, tt := range []struct {
		name   string
		ref    string
		opts   pull.Options
		bend   func(http.ResponseWriter, *http.Request) bool
		reason pull.Reason
		want   string
	}{
		{"missing tag", u.host + "/p/app:v9", options(), nil, pull.Missing, "cannot pull " + u.host + "/p/app:v9: the registry " + u.host + " has no such image (HTTP 404, MANIFEST_UNKNOWN p/app v9: the manifest is not there): check name and tag"},
		{"missing name", u.host + "/p/none:v1", options(), nil, pull.Missing, "cannot pull " + u.host + "/p/none:v1: the registry " + u.host + " has no such image (HTTP 404, NAME_UNKNOWN p/none: the repository is not there): check name and tag"},
		{"no login", app, nobody, nil, pull.Login, "cannot pull " + app + ": the registry " + u.host + " asks for a login, or has no such image (HTTP 401, UNAUTHORIZED log in first): give credentials for it"},
		{"bad login", app, bad, nil, pull.Login, "cannot pull " + app + ": the registry " + u.host + " refuses the login (HTTP 401, UNAUTHORIZED log in first): check the user and the password or token"},
		{"architecture", u.host + "/p/app:foreign", options(), nil, pull.Platform, "cannot pull " + u.host + "/p/app:foreign: it is for linux/" + foreignArch() + ", and this machine is linux/" + runtime.GOARCH + ": build or choose an image for linux/" + runtime.GOARCH},
		{"wrong layer", app, options(), sayAt("/blobs/"+layer.String(), wrong), pull.Digest, "cannot pull " + app + ": " + layer.String() + " came with the digest " + wrongDigest.String() + ": the registry or something on the way changed it"},
		{"short layer", app, options(), sayAt("/blobs/"+layer.String(), "hello"), pull.Digest, "cannot pull " + app + ": " + layer.String() + " came with the digest " + other + ": the registry or something on the way changed it"},
		{"wrong manifest", u.host + "/p/app@" + digest(t, img).String(), options(), sayAt("/manifests/"+digest(t, img).String(), "hello"), pull.Digest, "cannot pull " + u.host + "/p/app@" + digest(t, img).String() + ": its manifest " + digest(t, img).String() + " came with the digest " + other + ": the registry or something on the way changed it"},
		{"no manifest", app, options(), sayAt("/manifests/v1", "hello"), pull.Invalid, "cannot pull " + app + ": the manifest cannot be read: invalid character 'h' looking for beginning of value"},
		{"down", down + "/p/app:v1", options(), nil, pull.Unreachable, "cannot pull " + down + "/p/app:v1: the registry " + down + " does not answer (dial tcp " + down + ": connect: connection refused): check its name, and that this machine reaches it"},
		{"busy", app, options(), func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(503); return true }, pull.Unreachable, "cannot pull " + app + ": the registry " + u.host + " cannot answer now (HTTP 503): try again later"},
		{"plain only", app, secure, nil, pull.Unreachable, "cannot pull " + app + ": " + u.host + " speaks plain HTTP only: give it a certificate"},
		{"sent elsewhere", app, options(), func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/blobs/") {
				http.Redirect(w, r, "http://"+down+"/metadata", http.StatusTemporaryRedirect)
				return true
			}
			return false
		}, pull.Unreachable, "cannot pull " + app + ": " + down + " speaks plain HTTP only: give it a certificate"},
		{"plain elsewhere", "registry.example.com/app", options(), nil, pull.Invalid, "cannot pull registry.example.com/app: plain HTTP is for registries on a loopback address; give registry.example.com a certificate"},
		{"no name", "http://x/y", options(), nil, pull.Invalid, `cannot pull "http://x/y": it is no name of an image; write [REGISTRY/]NAME[:TAG] or NAME@sha256:DIGEST`},
		{"escape", u.host + "/../../x", options(), nil, pull.Invalid, `cannot pull "` + u.host + `/../../x": it is no name of an image; write [REGISTRY/]NAME[:TAG] or NAME@sha256:DIGEST`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u.set(tt.bend)
			defer u.set(nil)
			_, err := pull.New(config(store(t))).Pull(t.Context(), tt.ref, tt.opts)
			e, is := errors.AsType[*pull.Error](err)
			if !is || e.Reason != tt.reason || e.Error() != tt.want {
				t.Errorf("got  %v\nwant %s %s", err, tt.reason, tt.want)
			}
			depth := 0
			for inner := err; inner != nil && depth < 100; inner = errors.Unwrap(inner) {
				depth++
			}
			if depth == 100 {
				t.Error("the error is its own cause: whoever looks into it does not end")
			}
			if strings.Contains(fmt.Sprintf("%+v %#v", err, tt.opts), "secret") {
				t.Error("the secret is shown")
			}
		})
	}
}

// TestParallelPulls: pulls at the same time, by one puller and by two that share a
// store, fetch each blob once.
func TestParallelPulls(t *testing.T) {
	u := serve(t)
	u.image(t, "p/app:v1", runtime.GOARCH)
	shared := store(t)
	pullers := []*pull.Puller{pull.New(config(shared)), pull.New(config(shared))}
	g := new(errgroup.Group)
	for i := range 16 {
		g.Go(func() error {
			_, err := pullers[i%2].Pull(t.Context(), u.host+"/p/app:v1", options())
			return err
		})
	}
	ok(t, g.Wait())
	blobs := 0
	for what, n := range u.seen {
		if what == "v2" || what == "" {
			continue
		}
		if blobs++; n != 1 {
			t.Errorf("%s was fetched %d times", what, n)
		}
	}
	if blobs != 5 {
		t.Errorf("%d things were fetched, want a manifest and 4 blobs: %v", blobs, u.seen)
	}
}

// TestOneGivesUp: of two that wait for one pull, one leaves; the other gets it.
func TestOneGivesUp(t *testing.T) {
	u := serve(t)
	u.image(t, "p/app:v1", runtime.GOARCH)
	reached, proceed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	u.set(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/manifests/v1") {
			once.Do(func() { close(reached) })
			<-proceed
		}
		return false
	})
	p := pull.New(config(store(t)))
	first, leave := context.WithCancelCause(t.Context())
	left := errors.New("left")
	results := make(chan error, 2)
	go func() { _, err := p.Pull(first, u.host+"/p/app:v1", options()); results <- err }()
	<-reached
	go func() { _, err := p.Pull(t.Context(), u.host+"/p/app:v1", options()); results <- err }()
	for p.Waiting() < 2 {
		runtime.Gosched()
	}
	leave(left)
	if err := <-results; !errors.Is(err, left) {
		t.Errorf("got %v", err)
	}
	close(proceed)
	ok(t, <-results)
}

func TestPush(t *testing.T) {
	from, to := serve(t), serve(t)
	img := from.image(t, "p/app:v1", runtime.GOARCH)
	p := pull.New(config(store(t)))
	got, err := p.Pull(t.Context(), from.host+"/p/app:v1", options())
	ok(t, err)
	target := to.host + "/q/copy:v2"
	for range 2 { // the second time there is nothing to send
		m, err := pull.Push(t.Context(), got.Repo, got.Manifest.Digest.String(), target, pull.Pushing{Remote: options().Remote})
		ok(t, err)
		if m.Digest != digest(t, img) {
			t.Errorf("got %s", m.Digest)
		}
	}
	d, err := crane.Digest(target, crane.WithAuth(login))
	if err != nil || d != digest(t, img).String() {
		t.Errorf("got %s, %v", d, err)
	}
	_, err = pull.Push(t.Context(), got.Repo, got.Manifest.Digest.String(), target, pull.Pushing{Remote: pull.Remote{PlainHTTP: true}})
	want := "cannot push " + target + ": the registry " + to.host + " asks for a login (HTTP 401): give credentials for it"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestBearer: most public registries give a token for the login.
func TestBearer(t *testing.T) {
	u := serve(t)
	img := u.image(t, "p/app:v1", runtime.GOARCH)
	u.set(func(w http.ResponseWriter, r *http.Request) bool {
		user, password, basic := r.BasicAuth()
		switch {
		case r.URL.Path == "/token" && (user != "user" || password != "secret"):
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/token" && r.URL.Query().Get("scope") == "repository:p/app:pull":
			io.WriteString(w, `{"token":"for-p-app"}`)
		case r.Header.Get("Authorization") == "Bearer for-p-app":
			r.SetBasicAuth("user", "secret")
			return false
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+u.host+`/token",service="s"`)
			w.WriteHeader(http.StatusUnauthorized)
			if basic {
				t.Error("the password went to the registry itself")
			}
		}
		return true
	})
	got, err := pull.New(config(store(t))).Pull(t.Context(), u.host+"/p/app:v1", options())
	ok(t, err)
	if got.Manifest.Digest != digest(t, img) {
		t.Errorf("got %s", got.Manifest.Digest)
	}
	bad := options()
	bad.Credentials = pull.Basic("user", "wrong")
	_, err = pull.New(config(store(t))).Pull(t.Context(), u.host+"/p/app:v1", bad)
	if e, is := errors.AsType[*pull.Error](err); !is || e.Reason != pull.Login {
		t.Errorf("got %v", err)
	}
}

func TestDockerConfig(t *testing.T) {
	u := serve(t)
	u.image(t, "p/app:v1", runtime.GOARCH)
	auth := base64.StdEncoding.EncodeToString([]byte("user:secret"))
	for _, tt := range []struct{ name, file, err string }{
		{"auth", `{"auths":{"` + u.host + `":{"auth":"` + auth + `"}}}`, ""},
		{"address", `{"auths":{"https://` + u.host + `/v1/":{"auth":"` + auth + `"}}}`, ""},
		{"user and password", `{"auths":{"` + u.host + `":{"username":"user","password":"secret"}}}`, ""},
		{"old file", `{"` + u.host + `":{"auth":"` + auth + `"}}`, ""},
		{"another registry", `{"auths":{"example.com":{"auth":"` + auth + `"}}}`, "login"},
		{"helper", `{"credsStore":"desktop","auths":{"` + u.host + `":{}}}`, "the Docker configuration names a credential helper, which is not run: put the login into auths (docker login on a machine without a helper)"},
		{"broken", `{"auths":{"x":{"auth":"!secret!"}}}`, `the Docker configuration cannot be read: it is JSON like {"auths": {"registry.example.com": {"auth": "..."}}}`},
		{"empty", `{}`, "login"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := pull.DockerConfig([]byte(tt.file))
			if err != nil {
				if err.Error() != tt.err {
					t.Errorf("got  %v\nwant %s", err, tt.err)
				}
				return
			}
			opts := options()
			opts.Credentials = c
			_, err = pull.New(config(store(t))).Pull(t.Context(), u.host+"/p/app:v1", opts)
			e, is := errors.AsType[*pull.Error](err)
			if tt.err == "" && err != nil || tt.err == "login" && (!is || e.Reason != pull.Login) {
				t.Errorf("got %v", err)
			}
			if text := fmt.Sprintf("%v %+v %#v", c, c, c); strings.Contains(text, auth) || strings.Contains(text, "secret") {
				t.Errorf("shows %s", text)
			}
		})
	}
}
