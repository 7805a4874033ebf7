package dataset

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/warehouse/webhdfstest"
)

const declared = `warehouse: w
datasets:
  - {name: clicks, path: /data/in/clicks, owner: ads, quotaMB: 1024, retentionDays: 30}
  - {name: geo, path: /data/geo, owner: maps, access: [{project: bi, mode: rw}, {project: ads}]}
`

func identity(project string) Identity { return Identity{User: project, Group: project} }

// parse reads a file without findings.
func parse(t *testing.T, text string) *File {
	t.Helper()
	f, found := Parse("d.yaml", []byte(text))
	if len(found) > 0 {
		t.Fatal(render(found))
	}
	return f
}

// applied plans a file, makes it so, and returns what the plan says.
func applied(t *testing.T, files Files, text string) []Change {
	t.Helper()
	f := parse(t, text)
	all, err := NewCatalog(files).Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	plan, found, err := f.Plan(t.Context(), files, all, identity)
	if err != nil || len(found) > 0 {
		t.Fatal(render(found), err)
	}
	for _, d := range f.Datasets {
		if _, err := Ensure(t.Context(), files, d, identity(d.Owner)); err != nil {
			t.Fatal(err)
		}
	}
	return plan
}

// TestPlan: what is to be made, declared, changed and kept, and why.
func TestPlan(t *testing.T) {
	s, files := newFiles(t)
	s.Mkdir("/data/geo")
	want := []Change{
		{"clicks", "/data/in/clicks", Make, []string{"owner ads", "quota 1,024 MiB", "retention 30 days"}},
		{"geo", "/data/geo", Adopt, []string{"owner maps", "access ads:ro bi:rw", "it was there before: its owner root stays, and nothing in it expires"}},
	}
	if diff := cmp.Diff(want, applied(t, files, declared)); diff != "" {
		t.Error(diff)
	}
	keep := []Change{{"clicks", "/data/in/clicks", Keep, nil}, {"geo", "/data/geo", Keep, nil}}
	s.Requests()
	if diff := cmp.Diff(keep, applied(t, files, declared)); diff != "" {
		t.Error(diff)
	}
	for _, r := range s.Requests() {
		if r.Method != http.MethodGet {
			t.Errorf("what is as declared was changed: %s %s %v", r.Method, r.Path, r.Query)
		}
	}
	changed := strings.NewReplacer("1024", "2048", ", retentionDays: 30", ", retentionDays: 1", "mode: rw", "mode: ro").Replace(declared)
	want = []Change{
		{"clicks", "/data/in/clicks", Update, []string{"quota 1,024 MiB → 2,048 MiB", "retention 30 days → 1 day"}},
		{"geo", "/data/geo", Update, []string{"access ads:ro bi:rw → ads:ro bi:ro"}},
	}
	if diff := cmp.Diff(want, applied(t, files, changed)); diff != "" {
		t.Error(diff)
	}
	// What others did to the folder since.
	for name, quota := range map[string]int64{"/data/in/clicks": 512 << 20, "/data/geo": 1 << 30} {
		if err := files.SetQuota(t.Context(), name, -1, quota); err != nil {
			t.Fatal(err)
		}
	}
	if err := files.SetOwner(t.Context(), "/data/in/clicks", "else", ""); err != nil {
		t.Fatal(err)
	}
	want = []Change{{"clicks", "/data/in/clicks", Update, []string{"owner in HDFS else → ads", "quota in HDFS 512 MiB → 2,048 MiB"}}, keep[1]}
	if diff := cmp.Diff(want, applied(t, files, changed)); diff != "" {
		t.Error(diff)
	}
	s.Remove("/data/in/clicks")
	want[0] = Change{"clicks", "/data/in/clicks", Make, []string{"owner ads", "quota 2,048 MiB", "retention 1 day"}}
	if diff := cmp.Diff(want, applied(t, files, changed)); diff != "" {
		t.Error(diff)
	}
}

// TestPlanFindings: what does not go with the warehouse is said at once, where it
// is in the file.
func TestPlanFindings(t *testing.T) {
	s, files := newFiles(t)
	applied(t, files, declared)
	s.Put("/data/file", "x")
	f := parse(t, `warehouse: w
datasets:
  - {name: clicks, path: /data/clicks, owner: ads}
  - {name: inner, path: /data/geo/inner, owner: maps}
  - {name: outer, path: /data/in, owner: maps}
  - {name: file, path: /data/file, owner: maps}
`)
	all, err := NewCatalog(files).Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before := s.Paths("/")
	_, found, err := f.Plan(t.Context(), files, all, identity)
	want := `d.yaml:3:26  error  datasets[0].path: dataset clicks is declared at /data/in/clicks, and a dataset does not move
    Give that path, or another name; or first: howdah dataset delete clicks
d.yaml:4:25  error  datasets[1].path: /data/geo/inner overlaps /data/geo of dataset geo
    Quota and access are a folder's; give each dataset one of its own, or first: howdah dataset delete geo
d.yaml:6:24  error  datasets[3].path: /data/file is a file
    Move it away, or choose another path.
`
	if diff := cmp.Diff(want, render(found)); diff != "" || err != nil {
		t.Errorf("%s %v", diff, err)
	}
	if diff := cmp.Diff(before, s.Paths("/")); diff != "" {
		t.Errorf("the plan changed something: %s", diff)
	}
	moved := clicks
	moved.Path = "/data/clicks"
	if _, err := Ensure(t.Context(), files, moved, ads); err == nil || err.Error() != "cannot ensure dataset clicks: it is declared at /data/in/clicks, and a dataset does not move" {
		t.Error(err)
	}
}

// TestForget: the files stay, the quota goes, and the folder is not ours again.
func TestForget(t *testing.T) {
	s, files := newFiles(t)
	applied(t, files, declared)
	s.Put("/data/in/clicks/a", "x")
	for range 2 {
		if err := Forget(t.Context(), files, clicks); err != nil {
			t.Error(err)
		}
	}
	all, err := NewCatalog(files).Read(t.Context())
	if err != nil || len(all) != 1 || all[0].Name != "geo" {
		t.Errorf("declared are still %+v, %v", all, err)
	}
	o, err := Look(t.Context(), files, clicks)
	if err != nil || !o.Exists || o.Made || o.Quota != -1 || o.Files != 1 {
		t.Errorf("%+v, %v", o, err)
	}
	if plan := applied(t, files, declared); plan[0].Action != Adopt {
		t.Errorf("declared again: %+v", plan)
	}
}

// TestCatalog reads only what has changed, and nothing that is no declaration.
func TestCatalog(t *testing.T) {
	s, files := newFiles(t)
	c := NewCatalog(files)
	read := func(want string) {
		t.Helper()
		all, err := c.Read(t.Context())
		var names []string
		for _, d := range all {
			names = append(names, d.Name+" "+d.Owner)
		}
		if got := strings.Join(names, ", "); got != want || err != nil {
			t.Errorf("declared are %q, %v", got, err)
		}
	}
	read("")
	applied(t, files, declared)
	s.Mkdir("/data/.howdah/datasets/_new-x-1")
	s.Put("/data/.howdah/datasets/_record-x-1", "{torn")
	read("clicks ads, geo maps")
	s.Requests()
	read("clicks ads, geo maps")
	if n := len(s.Requests()); n != 1 {
		t.Errorf("%d requests for what has not changed", n)
	}
	applied(t, files, strings.Replace(declared, "owner: ads", "owner: bi", 1))
	read("clicks bi, geo maps")
	if err := Forget(t.Context(), files, clicks); err != nil {
		t.Error(err)
	}
	read("geo maps")
	s.Put("/data/.howdah/datasets/geo.json", "{torn")
	if _, err := c.Read(t.Context()); err == nil || err.Error() != "cannot read the declared datasets: /data/.howdah/datasets/geo.json is no record of a dataset; move it away" {
		t.Errorf("a torn record: %v", err)
	}
	// Nobody's copy of a record declares anything.
	s.Remove("/data/.howdah/datasets/geo.json")
	applied(t, files, declared)
	text, _ := s.Get("/data/.howdah/datasets/geo.json")
	s.Put("/data/.howdah/datasets/other.json", text)
	if _, err := c.Read(t.Context()); err == nil {
		t.Error("a record under another name was read")
	}
}

// TestCatalogCutShort: who has little time for each Read gets there all the same.
func TestCatalogCutShort(t *testing.T) {
	s, files := newFiles(t)
	applied(t, files, declared)
	c := NewCatalog(files)
	for try := 1; ; try++ {
		opened := 0
		s.Intercept(func(w http.ResponseWriter, r *http.Request, node string) bool {
			if r.URL.Query().Get("op") != "OPEN" || node != "name" {
				return false
			}
			if opened++; opened > 1 {
				webhdfstest.Refuse(w, http.StatusInternalServerError, "IOException", "away")
			}
			return opened > 1
		})
		all, err := c.Read(t.Context())
		if err == nil && len(all) == 2 {
			if try != 2 {
				t.Errorf("done at the %d. try", try)
			}
			return
		}
		if err == nil || try == 2 {
			t.Fatalf("%d. try: %+v, %v", try, all, err)
		}
	}
}

// TestReplaceIsOneStep: at no moment is a declared dataset not declared.
func TestReplaceIsOneStep(t *testing.T) {
	s, files := newFiles(t)
	applied(t, files, declared)
	d := clicks
	var n int
	s.Intercept(func(w http.ResponseWriter, r *http.Request, node string) bool {
		if r.Method == http.MethodGet || node != "name" {
			return false
		}
		n++
		if _, ok := s.Get(recordPath("clicks")); !ok {
			t.Errorf("before %s the dataset is not declared", r.URL.RawQuery)
		}
		if r.URL.Query().Get("op") == "RENAME" {
			webhdfstest.Refuse(w, http.StatusForbidden, "SafeModeException", "away")
			return true
		}
		return false
	})
	d.Owner = "bi"
	if _, err := Ensure(t.Context(), files, d, identity("ads")); err == nil || n == 0 {
		t.Errorf("%d changes, %v", n, err)
	}
	s.Intercept(nil)
	all, err := NewCatalog(files).Read(t.Context())
	if err != nil || len(all) != 2 || all[0].Owner != "ads" {
		t.Errorf("declared are %+v, %v", all, err)
	}
	if left := s.Paths("/data/.howdah/datasets"); !cmp.Equal(left, []string{"clicks.json", "geo.json"}) {
		t.Errorf("left behind: %v", left)
	}
}
