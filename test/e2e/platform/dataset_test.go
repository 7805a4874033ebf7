package platform

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os/user"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/internal/adapter/webhdfs"
	"howdah.dev/howdah/internal/warehouse/dataset"
	"howdah.dev/howdah/test/e2e/harness"
)

const declaration = `
warehouse: warehouse
datasets:
  - {name: clicks, path: /data/e2e/clicks, owner: ads, quotaMB: 384, retentionDays: 9, access: [{project: bi}]}
  - {name: words, path: /data/go-src-words, owner: default}
`

// line is a dataset as "howdah -o json dataset get" prints it.
type line struct {
	dataset.Dataset
	Observed dataset.Observed `json:"observed"`
}

// datasets declares datasets in the warehouse, one of them a folder that a job
// wrote, and lets projects of the cell ask for them.
func datasets(t *testing.T, h *harness.Home) {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	web := h.Cluster("warehouse").Exports["web"]
	as := func(user string) *webhdfs.Client {
		return webhdfs.New(webhdfs.Config{Addresses: []string{web}, User: user})
	}
	put := func(user, name string) error {
		return as(user).Create(t.Context(), name, strings.NewReader("12345"), webhdfs.CreateOptions{Overwrite: true, Replication: 3})
	}
	file := h.Write("datasets.yaml", declaration)
	harness.Contains(t, "dataset apply", h.OK("dataset", "apply", file), "1 to make, 1 to declare, 0 to update", "quota 384 MiB, retention 9 days, access bi:ro", "its owner "+me.Username+" stays")
	harness.Contains(t, "a second apply", h.OK("dataset", "apply", file), "the datasets of warehouse are as declared; nothing to do")

	// HDFS itself guards the owner and the quota: one block in three copies.
	if err := put("bi", "/data/e2e/clicks/theirs"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("another project's user writes into the dataset: %v", err)
	}
	if err := put("ads", "/data/e2e/clicks/a"); err != nil {
		t.Error(err)
	}
	if err := put("ads", "/data/e2e/clicks/b"); !errors.Is(err, webhdfs.ErrQuota) {
		t.Errorf("the quota does not hold: %v", err)
	}
	h.Write("datasets.yaml", strings.Replace(declaration, "384", "1024", 1))
	harness.Contains(t, "apply with another quota", h.OK("dataset", "apply", file), "~  clicks", "quota 384 MiB → 1,024 MiB", "·  words")
	if err := put("ads", "/data/e2e/clicks/b"); err != nil {
		t.Error(err)
	}
	got := harness.JSON[line](h, "dataset", "get", "clicks")
	if o := got.Observed; got.Owner != "ads" || !o.Made || o.Owner != "ads" || o.Files != 2 || o.Bytes != 10 || o.Space != 30 || o.Quota != 1024<<20 {
		t.Errorf("dataset get tells of %+v", got)
	}
	harness.Contains(t, "dataset list", h.OK("dataset", "list"), "clicks   ads      /data/e2e/clicks    30 B of 1.0 GiB  2      9 days     bi:ro\n", "words    default  /data/go-src-words")

	expire(t, h, web, me.Username)
	judged(t, h)

	h.OK("dataset", "delete", "clicks", "--yes")
	h.OK("dataset", "delete", "words", "--yes")
	harness.Contains(t, "dataset list", h.OK("dataset", "list"), "no datasets")
	if err := put("ads", "/data/e2e/clicks/c"); err != nil {
		t.Errorf("the folder of a dataset that was forgotten: %v", err)
	}
}

// expire moves the file that has become old to the trash.
func expire(t *testing.T, h *harness.Home, web, me string) {
	t.Helper()
	old := time.Now().AddDate(0, 0, -10).UnixMilli()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, fmt.Sprintf("%s/webhdfs/v1/data/e2e/clicks/a?op=SETTIMES&modificationtime=%d&user.name=%s", web, old, me), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if dry := h.OK("dataset", "expire", "--dry-run"); dry != "DATASET  WOULD MOVE\nclicks   1 file, 5 B\n/data/e2e/clicks/a\n" {
		t.Errorf("expire --dry-run prints %q", dry)
	}
	harness.Contains(t, "dataset expire", h.OK("dataset", "expire"), "clicks   1 file, 5 B\n", "/user/"+me+"/.Trash/Current")
	files := webhdfs.New(webhdfs.Config{Addresses: []string{web}, User: me})
	if s, err := files.Status(t.Context(), "/user/"+me+"/.Trash/Current/data/e2e/clicks/a"); err != nil || s.Length != 5 {
		t.Errorf("in the trash is %+v, %v", s, err)
	}
	if _, err := files.Status(t.Context(), "/data/e2e/clicks/b"); err != nil {
		t.Errorf("a file that is young enough: %v", err)
	}
}

// judged: a project's app may name what the project owns or was given, and the
// default project may use what nobody has declared. The server takes no part.
func judged(t *testing.T, h *harness.Home) {
	t.Helper()
	tokens := map[string]string{}
	for _, project := range []string{"default", "ads", "bi", "shop"} {
		tokens[project] = h.Token(project, "operator")
	}
	url := h.Cluster("cell").Exports["marathon"]
	for _, x := range []struct {
		project, path string
		code          int
		says          string
	}{
		{"ads", "/data/e2e/clicks", 200, ""},
		{"ads", "/data/go-src-words", 422, "/data/go-src-words is dataset words of project default"},
		{"bi", "/data/e2e/clicks:ro", 200, ""},
		{"bi", "/data/e2e/clicks", 422, "the project may only read dataset clicks"},
		{"shop", "/data/e2e/clicks:ro", 422, "/data/e2e/clicks is dataset clicks of project ads"},
		{"default", "/data/e2e/clicks/sub", 422, "/data/e2e/clicks/sub is dataset clicks of project ads"},
		{"default", "/data/e2e", 422, "/data/e2e holds dataset clicks of project ads"},
		{"default", "/data/go-src-words", 200, ""},
		{"default", "/data/go-src", 200, ""}, // not declared; allowed by the cell's own policy
	} {
		group := "/" + x.project
		body := fmt.Sprintf(`{"id": "%s/judged", "cmd": "true", "instances": 1, "container": {"type": "MESOS", "docker": {"image": "%s/none:1"}},
			"networks": [{"mode": "container/bridge"}], "labels": {"HOWDAH_DATASET_D": %q}}`, group, x.project, x.path)
		code, text := harness.Ask(t, http.MethodPut, url+"/v2/apps"+group+"/judged?dryRun=true", tokens[x.project], body)
		if code != x.code || !strings.Contains(text, x.says) {
			t.Errorf("an app of %s with %s: %d\n%s", x.project, x.path, code, text)
		}
	}
}
