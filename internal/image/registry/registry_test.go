package registry_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"howdah.dev/howdah/internal/image/imagestore"
	"howdah.dev/howdah/internal/image/registry"
)

// rights of a user: project and action, or * for all.
type rights map[string][]string

// serve starts a registry on 127.0.0.1 with users alice (project a), bob (project
// b; may read a), reader (reads all). Their passwords are their names.
func serve(t *testing.T) (host string, store *imagestore.Store) {
	t.Helper()
	store, err := imagestore.Open(imagestore.Config{Dir: t.TempDir(), MaxBlob: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	all := []string{registry.ActionPull, registry.ActionPush, registry.ActionDelete}
	users := map[string]rights{
		"alice":  {"a": all},
		"bob":    {"b": all, "a": {registry.ActionPull}},
		"reader": {"a": {registry.ActionPull}, "b": {registry.ActionPull}},
	}
	srv := httptest.NewServer(registry.New(registry.Config{Store: store, Authorize: func(r *http.Request, repo, action string) error {
		name, password, ok := r.BasicAuth()
		may, known := users[name]
		switch project, _, _ := strings.Cut(repo, "/"); {
		case !ok || !known || name != password:
			return registry.ErrUnauthenticated
		case action == registry.ActionLogin || slices.Contains(may[project], action):
			return nil
		}
		return fmt.Errorf("%s may not %s %s", name, action, repo)
	}}))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://"), store
}

func as(user string) crane.Option {
	return crane.WithAuth(&authn.Basic{Username: user, Password: user})
}

func randomImage(t *testing.T) v1.Image {
	t.Helper()
	img, err := random.Image(3000, 3)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestCrane uses another implementation of the protocol as client.
func TestCrane(t *testing.T) {
	host, _ := serve(t)
	img := randomImage(t)
	name := host + "/a/team/app"
	ok(t, crane.Push(img, name+":v1", as("alice")))
	ok(t, crane.Push(img, name+":v1", as("alice"))) // again: nothing to send
	got, err := crane.Pull(name+":v1", as("reader"))
	ok(t, err)
	ok(t, validate.Image(got))
	want, err := img.Digest()
	ok(t, err)
	if h, err := got.Digest(); err != nil || h != want {
		t.Errorf("got %s, want %s: %v", h, want, err)
	}
	ok(t, crane.Tag(name+":v1", "v2", as("alice")))
	tags, err := crane.ListTags(name, as("reader"))
	if d := cmp.Diff([]string{"v1", "v2"}, tags); d != "" || err != nil {
		t.Error(d, err)
	}
	// Layers are mounted from the one repository into the other.
	ok(t, crane.Copy(name+":v1", host+"/b/app:copy", as("bob")))
	repos, err := crane.Catalog(host, as("reader"))
	if d := cmp.Diff([]string{"a/team/app", "b/app"}, repos); d != "" || err != nil {
		t.Error(d, err)
	}
	repos, err = crane.Catalog(host, as("alice"))
	if d := cmp.Diff([]string{"a/team/app"}, repos); d != "" || err != nil {
		t.Error(d, err)
	}
	ok(t, crane.Delete(name+"@"+want.String(), as("alice")))
	if _, err := crane.Digest(name+":v1", as("alice")); err == nil {
		t.Error("the image is there after it was deleted")
	}
	if _, err := crane.Pull(host+"/b/app:copy", as("bob")); err != nil {
		t.Errorf("the copy went with the original: %v", err)
	}
}

func TestIndex(t *testing.T) {
	host, _ := serve(t)
	idx := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: randomImage(t), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: randomImage(t), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}})
	ref, err := name.ParseReference(host + "/a/multi:all")
	ok(t, err)
	ok(t, remote.WriteIndex(ref, idx, remote.WithAuth(&authn.Basic{Username: "alice", Password: "alice"})))
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := crane.Pull(host+"/a/multi:all", as("alice"), crane.WithPlatform(&v1.Platform{OS: "linux", Architecture: arch}))
		ok(t, err)
		ok(t, validate.Image(img))
	}
}

// call sends a request as a user and returns status, header and body.
func call(t *testing.T, user, method, url, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	ok(t, err)
	if user != "" {
		req.SetBasicAuth(user, user)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	ok(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	ok(t, err)
	return resp.StatusCode, resp.Header, strings.TrimSpace(string(data))
}

func oneErr(code, text string) string {
	raw, _ := json.Marshal(text)
	return fmt.Sprintf(`{"errors":[{"code":%q,"message":%s}]}`, code, bytes.NewBuffer(raw))
}

const (
	zeros = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	hello = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
)

func TestErrors(t *testing.T) {
	host, _ := serve(t)
	ok(t, crane.Push(randomImage(t), host+"/a/app:v1", as("alice")))
	manifest := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"x","size":5,"digest":"` + hello + `"},"layers":[]}`
	for _, tt := range []struct {
		name, user, method, path, body string
		status                         int
		want                           string
	}{
		{"no login", "", "GET", "/v2/", "", 401, oneErr("UNAUTHORIZED", "log in first")},
		{"unknown user", "mallory", "GET", "/v2/a/app/tags/list", "", 401, oneErr("UNAUTHORIZED", "log in first")},
		{"not allowed", "alice", "GET", "/v2/b/app/tags/list", "", 403, oneErr("DENIED", "alice may not pull b/app")},
		{"no project", "alice", "GET", "/v2/app/tags/list", "", 400, oneErr("NAME_INVALID", "names are PROJECT/NAME; app has no project")},
		{"bad name", "alice", "GET", "/v2/a/APP/tags/list", "", 400, oneErr("NAME_INVALID", `"a/APP" is no name of a repository: use small letters, digits and single . _ - between them, parts joined by /`)},
		{"escape", "alice", "GET", "/v2/a/%2e%2e/%2e%2e/x/tags/list", "", 400, oneErr("NAME_INVALID", `"a/../../x" is no name of a repository: use small letters, digits and single . _ - between them, parts joined by /`)},
		{"unknown repository", "alice", "GET", "/v2/a/none/tags/list", "", 404, oneErr("NAME_UNKNOWN", "a/none: the repository is not there")},
		{"unknown tag", "alice", "GET", "/v2/a/app/manifests/v9", "", 404, oneErr("MANIFEST_UNKNOWN", "a/app v9: the manifest is not there")},
		{"unknown digest", "alice", "GET", "/v2/a/app/manifests/" + zeros, "", 404, oneErr("MANIFEST_UNKNOWN", "a/app "+zeros+": the manifest is not there")},
		{"bad tag", "alice", "GET", "/v2/a/app/manifests/-x", "", 400, oneErr("TAG_INVALID", `"-x" is no tag: use up to 128 letters, digits and _ . -, not beginning with . or -`)},
		{"bad digest", "alice", "GET", "/v2/a/app/blobs/sha256:12", "", 400, oneErr("DIGEST_INVALID", `"sha256:12" is no digest: write sha256: and 64 hexadecimal digits`)},
		{"unknown blob", "alice", "GET", "/v2/a/app/blobs/" + zeros, "", 404, oneErr("BLOB_UNKNOWN", zeros+": the blob is not there")},
		{"wrong digest", "alice", "POST", "/v2/a/app/blobs/uploads/?digest=" + zeros, "hello", 400, oneErr("DIGEST_INVALID", "the content has the digest "+hello+" where "+zeros+" was promised")},
		{"unknown upload", "alice", "PATCH", "/v2/a/app/blobs/uploads/x", "hello", 404, oneErr("BLOB_UPLOAD_UNKNOWN", "the upload is not there or has expired")},
		{"blob missing", "alice", "PUT", "/v2/a/app/manifests/v2", manifest, 400, `{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"push ` + hello + ` first: the manifest refers to it","detail":{"digest":"` + hello + `"}}]}`},
		{"no manifest", "alice", "PUT", "/v2/a/app/manifests/v2", "{}", 400, oneErr("MANIFEST_INVALID", "the manifest has schema version 0; only 2 is supported")},
		{"other digest", "alice", "PUT", "/v2/a/app/manifests/" + zeros, "hello", 400, oneErr("DIGEST_INVALID", "the content has the digest "+hello+" where "+zeros+" was promised")},
		{"huge manifest", "alice", "PUT", "/v2/a/app/manifests/v2", strings.Repeat(" ", 4<<20+1), 413, oneErr("MANIFEST_INVALID", "the manifest has more than 4 MiB")},
		{"huge blob", "alice", "POST", "/v2/a/app/blobs/uploads/?digest=" + zeros, strings.Repeat(" ", 8<<20+1), 413, oneErr("SIZE_INVALID", "the blob has more than the 8388608 bytes allowed: too large")},
		{"bad page", "alice", "GET", "/v2/a/app/tags/list?n=x", "", 400, oneErr("PAGINATION_NUMBER_INVALID", `n is "x"; give a number from 0`)},
		{"method", "alice", "DELETE", "/v2/a/app/blobs/" + hello, "", 405, oneErr("UNSUPPORTED", "the method DELETE is not supported here")},
		{"nothing", "alice", "GET", "/v2/a/app/what", "", 404, oneErr("UNSUPPORTED", "there is nothing at this address")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, header, got := call(t, tt.user, tt.method, "http://"+host+tt.path, tt.body)
			if d := cmp.Diff(tt.want, got); d != "" || status != tt.status {
				t.Errorf("status %d, want %d: %s", status, tt.status, d)
			}
			if challenge := header.Get("WWW-Authenticate"); (challenge == `Basic realm="howdah"`) != (tt.status == 401) {
				t.Errorf("challenge %q", challenge)
			}
		})
	}
}

// TestAuthorization is the matrix of users, actions and projects.
func TestAuthorization(t *testing.T) {
	host, _ := serve(t)
	for project, owner := range map[string]string{"a": "alice", "b": "bob"} {
		ok(t, crane.Push(randomImage(t), host+"/"+project+"/app:v1", as(owner)))
	}
	digest, err := crane.Digest(host+"/b/app:v1", as("bob"))
	ok(t, err)
	want := map[string]string{ // pull, push, delete of project a, then of b
		"":       "401 401 401 401 401 401",
		"alice":  "200 202 404 403 403 403",
		"bob":    "200 403 403 200 202 404",
		"reader": "200 403 403 200 403 403",
	}
	for user, codes := range want {
		var got []string
		for _, p := range []string{"a", "b"} {
			for _, c := range [][2]string{{"GET", "manifests/v1"}, {"POST", "blobs/uploads/"}, {"DELETE", "manifests/none"}} {
				status, _, _ := call(t, user, c[0], "http://"+host+"/v2/"+p+"/app/"+c[1], "")
				got = append(got, fmt.Sprint(status))
			}
		}
		if g := strings.Join(got, " "); g != codes {
			t.Errorf("%q: got %s, want %s", user, g, codes)
		}
	}
	// A mount from where one may not read is an upload, and tells nothing.
	m, err := crane.Manifest(host+"/b/app@"+digest, as("bob"))
	ok(t, err)
	var parsed v1.Manifest
	ok(t, json.Unmarshal(m, &parsed))
	mount := "/v2/%s/app/blobs/uploads/?mount=" + parsed.Layers[0].Digest.String() + "&from=%s/app"
	if status, _, _ := call(t, "alice", "POST", "http://"+host+fmt.Sprintf(mount, "a", "b"), ""); status != 202 {
		t.Errorf("alice mounts from b: %d", status)
	}
	if status, _, _ := call(t, "alice", "GET", "http://"+host+"/v2/a/app/blobs/"+parsed.Layers[0].Digest.String(), ""); status != 404 {
		t.Errorf("alice reads a blob of b through a: %d", status)
	}
}

func TestChunkedUpload(t *testing.T) {
	host, _ := serve(t)
	base := "http://" + host
	status, header, _ := call(t, "alice", "POST", base+"/v2/a/app/blobs/uploads/", "")
	if status != 202 || header.Get("Range") != "0-0" {
		t.Fatalf("%d %v", status, header)
	}
	at := base + header.Get("Location")
	status, header, _ = call(t, "alice", "PATCH", at, "hel", "Content-Range", "0-2")
	if status != 202 || header.Get("Range") != "0-2" {
		t.Errorf("%d %v", status, header)
	}
	status, header, body := call(t, "alice", "PATCH", at, "o", "Content-Range", "4-4")
	if status != 416 || header.Get("Range") != "0-2" || body != oneErr("BLOB_UPLOAD_INVALID", "the chunk begins at byte 4, but 3 bytes are there") {
		t.Errorf("%d %v %s", status, header, body)
	}
	status, _, body = call(t, "alice", "PATCH", at, "lo", "Content-Range", "3-9")
	if status != 400 || body != oneErr("SIZE_INVALID", "Content-Range 3-9 is 7 bytes and Content-Length 2") {
		t.Errorf("%d %s", status, body)
	}
	if status, header, _ = call(t, "alice", "GET", at, ""); status != 204 || header.Get("Range") != "0-2" {
		t.Errorf("%d %v", status, header)
	}
	if status, header, body = call(t, "alice", "PUT", at+"?digest="+hello, "lo", "Content-Range", "3-4"); status != 201 || header.Get("Location") != "/v2/a/app/blobs/"+hello {
		t.Errorf("%d %v %s", status, header, body)
	}
	if status, header, body = call(t, "reader", "GET", base+"/v2/a/app/blobs/"+hello, "", "Range", "bytes=1-3"); status != 206 || body != "ell" || header.Get("Docker-Content-Digest") != hello {
		t.Errorf("%d %v %s", status, header, body)
	}
	if status, header, body = call(t, "reader", "HEAD", base+"/v2/a/app/blobs/"+hello, ""); status != 200 || header.Get("Content-Length") != "5" || body != "" {
		t.Errorf("%d %v %s", status, header, body)
	}
	status, header, _ = call(t, "alice", "POST", base+"/v2/a/app/blobs/uploads/", "")
	if status != 202 {
		t.Fatal(status)
	}
	at = base + header.Get("Location")
	if status, _, _ = call(t, "alice", "DELETE", at, ""); status != 204 {
		t.Error(status)
	}
	if status, _, _ = call(t, "alice", "GET", at, ""); status != 404 {
		t.Error(status)
	}
}

func TestPages(t *testing.T) {
	host, _ := serve(t)
	img := randomImage(t)
	for _, tag := range []string{"e", "c", "a", "d", "b"} {
		ok(t, crane.Push(img, host+"/a/app:"+tag, as("alice")))
	}
	next := "/v2/a/app/tags/list?n=2"
	var got [][]string
	for range 10 {
		status, header, body := call(t, "alice", "GET", "http://"+host+next, "")
		if status != 200 {
			t.Fatal(status, body)
		}
		var page struct{ Tags []string }
		ok(t, json.Unmarshal([]byte(body), &page))
		got = append(got, page.Tags)
		if next, _, _ = strings.Cut(strings.TrimPrefix(header.Get("Link"), "<"), ">"); next == "" {
			break
		}
	}
	if d := cmp.Diff([][]string{{"a", "b"}, {"c", "d"}, {"e"}}, got); d != "" {
		t.Error(d)
	}
	if _, _, body := call(t, "alice", "GET", "http://"+host+"/v2/a/app/tags/list?n=0", ""); body != `{"name":"a/app","tags":[]}` {
		t.Error(body)
	}
}

func TestReferrers(t *testing.T) {
	host, _ := serve(t)
	img := randomImage(t)
	ok(t, crane.Push(img, host+"/a/app:v1", as("alice")))
	digest, err := img.Digest()
	ok(t, err)
	base := "http://" + host + "/v2/a/app/"
	_, _, body := call(t, "alice", "GET", base+"referrers/"+digest.String(), "")
	if body != `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}` {
		t.Error(body)
	}
	size, err := img.Size()
	ok(t, err)
	subject := v1.Descriptor{MediaType: "application/vnd.docker.distribution.manifest.v2+json", Digest: digest, Size: size}
	signed := mutate.Subject(mutate.MediaType(randomImage(t), "application/vnd.oci.image.manifest.v1+json"), subject).(v1.Image)
	ok(t, crane.Push(signed, host+"/a/app:signature", as("alice")))
	want, err := signed.Digest()
	ok(t, err)
	status, header, body := call(t, "alice", "GET", base+"referrers/"+digest.String()+"?artifactType=none", "")
	if status != 200 || header.Get("OCI-Filters-Applied") != "artifactType" || strings.Contains(body, want.String()) {
		t.Errorf("%d %v %s", status, header, body)
	}
	if _, _, body = call(t, "alice", "GET", base+"referrers/"+digest.String(), ""); !strings.Contains(body, want.String()) {
		t.Errorf("%s lacks %s", body, want)
	}
}
