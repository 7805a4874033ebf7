package image_test

import (
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"howdah.dev/howdah/internal/image"
)

const digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestSplitName(t *testing.T) {
	for in, want := range map[string]string{
		"app": "app latest", "p/app": "p/app latest", "p/app:v1": "p/app v1", "p/a.b_c__d-e--f/x:V.1-_": "p/a.b_c__d-e--f/x V.1-_",
		"p/app:":    `"" is no tag: use up to 128 letters, digits and _ . -, not beginning with . or -`,
		"p/app:.x":  `".x" is no tag: use up to 128 letters, digits and _ . -, not beginning with . or -`,
		"p:1/app":   `"p:1/app" is no name of a repository: use small letters, digits and single . _ - between them, parts joined by /`,
		"p/../app":  `"p/../app" is no name of a repository: use small letters, digits and single . _ - between them, parts joined by /`,
		"p/_tags/x": `"p/_tags/x" is no name of a repository: use small letters, digits and single . _ - between them, parts joined by /`,
		"P/app":     `"P/app" is no name of a repository: use small letters, digits and single . _ - between them, parts joined by /`,
		"":          `"" is no name of a repository: use small letters, digits and single . _ - between them, parts joined by /`,

		strings.Repeat("a", 256): "the repository name has 256 bytes; 255 are allowed",
	} {
		repository, tag, err := image.SplitName(in)
		got := text(err)
		if err == nil {
			got = repository + " " + tag
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

func TestRuns(t *testing.T) {
	for _, tt := range []struct {
		host, image string
		want        bool
	}{
		{"linux/amd64", "linux/amd64", true},
		{"linux/amd64", "linux/arm64", false},
		{"linux/amd64", "windows/amd64", false},
		{"linux/arm64", "linux/arm64/v8", true},
		{"linux/arm/v6", "linux/arm/v7", false},
	} {
		host, err := image.ParsePlatform(tt.host)
		if err != nil {
			t.Fatal(err)
		}
		p, err := image.ParsePlatform(tt.image)
		if err != nil {
			t.Fatal(err)
		}
		if got := image.Runs(host, p); got != tt.want || image.PlatformText(p) != tt.image {
			t.Errorf("%s on %s: %v", tt.image, tt.host, got)
		}
	}
	for _, bad := range []string{"", "linux", "/amd64", "a/b/c/d"} {
		if _, err := image.ParsePlatform(bad); err == nil {
			t.Errorf("%q is taken for a platform", bad)
		}
	}
}

func TestParseManifest(t *testing.T) {
	part := `{"mediaType":"x","size":5,"digest":"` + digest + `"}`
	sha512 := `{"mediaType":"x","size":5,"digest":"sha512:` + strings.Repeat("0", 128) + `"}`
	for _, tt := range []struct {
		name string
		kind types.MediaType
		raw  string
		want types.MediaType
		err  string
	}{
		{"image", types.OCIManifestSchema1, `{"schemaVersion":2,"config":` + part + `,"layers":[` + part + `]}`, types.OCIManifestSchema1, ""},
		{"image by its content", "", `{"schemaVersion":2,"config":` + part + `,"layers":[]}`, types.OCIManifestSchema1, ""},
		{"index by its content", "", `{"schemaVersion":2,"manifests":[` + part + `]}`, types.OCIImageIndex, ""},
		{"Docker", types.DockerManifestSchema2, `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":` + part + `,"layers":[]}`, types.DockerManifestSchema2, ""},
		{"two kinds", types.DockerManifestSchema2, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":` + part + `}`, "", "the manifest says it is application/vnd.oci.image.manifest.v1+json but came as application/vnd.docker.distribution.manifest.v2+json"},
		{"image and index", types.OCIManifestSchema1, `{"schemaVersion":2,"config":` + part + `,"manifests":[` + part + `]}`, "", "the manifest is an image and lists manifests too"},
		{"index and image", types.OCIImageIndex, `{"schemaVersion":2,"layers":[],"manifests":[` + part + `]}`, "", "the manifest is an index and lists layers too"},
		{"no config", types.OCIManifestSchema1, `{"schemaVersion":2}`, "", "the manifest has no config"},
		{"schema 1", "", `{"schemaVersion":1,"fsLayers":[]}`, "", "the manifest has schema version 1; only 2 is supported"},
		{"other kind", "text/plain", `{"schemaVersion":2}`, "", `manifests of the type "text/plain" are not supported`},
		{"algorithm", "", `{"schemaVersion":2,"config":` + sha512 + `}`, "", "the manifest refers to sha512:" + strings.Repeat("0", 128) + "; only sha256 is supported"},
		{"no digest", "", `{"schemaVersion":2,"config":{"size":1}}`, "", "the manifest refers to :; only sha256 is supported"},
		{"size", "", `{"schemaVersion":2,"config":{"size":-1,"digest":"` + digest + `"}}`, "", "the manifest gives " + digest + " the size -1"},
		{"many", "", `{"schemaVersion":2,"config":` + part + `,"layers":[` + strings.Repeat(part+",", 2048) + part + `]}`, "", "the manifest lists 2049 parts; 2048 are allowed"},
		{"large", "", strings.Repeat(" ", 4<<20+1), "", "the manifest has 4194305 bytes; 4194304 are allowed"},
		{"no JSON", "", "hello", "", "the manifest cannot be read: invalid character 'h' looking for beginning of value"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := image.ParseManifest(tt.kind, []byte(tt.raw))
			if text(err) != tt.err {
				t.Errorf("got  %v\nwant %s", err, tt.err)
			}
			if err == nil && (m.MediaType != tt.want || m.Digest != image.Digest([]byte(tt.raw))) {
				t.Errorf("got %s %s", m.MediaType, m.Digest)
			}
		})
	}
}

func TestParseConfig(t *testing.T) {
	for raw, want := range map[string]string{
		`{"os":"linux","rootfs":{"type":"layers","diff_ids":["` + digest + `"]}}`: "",
		`{"rootfs":{"type":"zfs"}}`:            `the root file system of the image is of the unknown kind "zfs"`,
		`[`:                                    "the configuration of the image cannot be read: unexpected EOF",
		strings.Repeat(" ", image.MaxConfig+1): "the configuration of the image has more than 8388608 bytes",
	} {
		c, err := image.ParseConfig(strings.NewReader(raw))
		if text(err) != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if err == nil && (len(c.RootFS.DiffIDs) != 1 || c.RootFS.DiffIDs[0] == v1.Hash{}) {
			t.Errorf("got %+v", c)
		}
	}
}

func TestOwn(t *testing.T) {
	const own = "127.9.0.1:7070"
	for _, tt := range []struct{ name, ref, project string }{
		{"hello:1", own + "/default/hello:1", "default"},
		{"shop/web/front", own + "/shop/web/front", "shop"},
		{own + "/shop/web@" + digest, own + "/shop/web@" + digest, "shop"},
		{own + "/web", own + "/default/web", "default"},
		{"docker.io/library/nginx", "docker.io/library/nginx", ""},
		{"localhost/x", "localhost/x", ""},
		{"other:5000/x:1", "other:5000/x:1", ""},
	} {
		if ref, project := image.Own(tt.name, own); ref != tt.ref || project != tt.project {
			t.Errorf("%s: %s of %q, want %s of %q", tt.name, ref, project, tt.ref, tt.project)
		}
	}
}
