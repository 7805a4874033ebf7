package dataset

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"howdah.dev/howdah/api"
)

func render(ds api.Diagnostics) string {
	var b strings.Builder
	for _, d := range ds {
		b.WriteString(d.String() + "\n    " + d.Detail + "\n")
	}
	return b.String()
}

func TestParse(t *testing.T) {
	f, found := Parse("d.yaml", []byte(`
warehouse: warehouse
datasets:
  - {name: go-src, path: /data/go-src, owner: ads, quotaMB: 1024, retentionDays: 30}
  - {name: geo, path: /data/geo, owner: maps, access: [{project: ads}, {project: bi, mode: rw}]}
`))
	if len(found) > 0 {
		t.Fatal(render(found))
	}
	want := &File{Warehouse: "warehouse", Datasets: []Dataset{
		{Name: "go-src", Path: "/data/go-src", Owner: "ads", QuotaMB: 1024, RetentionDays: 30},
		{Name: "geo", Path: "/data/geo", Owner: "maps", Access: []Access{{"ads", ReadOnly}, {"bi", ReadWrite}}},
	}}
	if diff := cmp.Diff(want, f, cmpopts.IgnoreUnexported(File{})); diff != "" {
		t.Error(diff)
	}
	for project, want := range map[string]Mode{"maps": ReadWrite, "ads": ReadOnly, "bi": ReadWrite, "x": "", "": ""} {
		if got, ok := f.Datasets[1].ModeFor(project); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v", project, got, ok)
		}
	}
}

func TestFindings(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"everything at once", `warehouse: w
datasets:
  - {name: A, path: data/a, owner: p}
  - {name: b, path: /data/b/, owner: p, quotaMB: 64}
  - {name: b, path: /data, owner: p, quotaMB: 200}
  - {name: c, path: /tmp/c, owner: p, retentionDays: 0}
  - {name: d, path: "/data/d%2e", owner: p, access: [{project: p}, {project: q}, {project: q, mode: x}]}
  - {name: e, path: /data/x/e, owner: p}
  - {name: f, path: /data/x, ower: p}
  - {name: g, path: /data/.howdah/g, owner: p}
`, `d.yaml:3:12  error  datasets[0].name: "A" has not the form wanted here
    It must match ^[a-z][a-z0-9-]*$.
d.yaml:3:21  error  datasets[0].path: "data/a" does not start with a slash
    Give the whole path in the warehouse, such as /data/clicks.
d.yaml:4:21  error  datasets[1].path: "/data/b/" is no plain path
    Leave out blanks, dots, a slash at the end, and the characters : ; \ % , ? #.
d.yaml:4:50  error  datasets[1].quotaMB: a quota of 64 MiB lets nothing be written
    HDFS sets aside 128 MiB for each copy of a file while it is written; with 3 copies give 384 or more.
d.yaml:5:12  error  datasets[2].name: dataset b is declared twice
    Give each dataset a name of its own.
d.yaml:5:21  error  datasets[2].path: /data is too near the root
    Give a path of two parts or more, such as /data/clicks.
d.yaml:5:47  warning  datasets[2].quotaMB: a quota of 200 MiB is too small for files with 3 copies
    HDFS sets aside 128 MiB for each copy of a file while it is written.
d.yaml:6:21  error  datasets[3].path: /tmp/c is in or above /tmp, which is no place for datasets
    Give another path, such as /data/clicks.
d.yaml:6:54  error  datasets[3].retentionDays: 0 is too small
    Give 1 or more.
d.yaml:7:21  error  datasets[4].path: "/data/d%2e" is no plain path
    Leave out blanks, dots, a slash at the end, and the characters : ; \ % , ? #.
d.yaml:7:64  error  datasets[4].access[0].project: project p owns the dataset
    Remove it here: the owner may read and write.
d.yaml:7:92  error  datasets[4].access[2].project: project q is named twice
    Remove one of the two.
d.yaml:7:101  error  datasets[4].access[2].mode: "x" is not possible here
    Possible: ro and rw.
d.yaml:9:5  error  datasets[6].owner: is missing
    Project that owns the dataset, and may read and write it
d.yaml:9:21  error  datasets[6].path: /data/x and /data/x/e of datasets[5].path overlap
    Quota and access are a folder's; give each dataset one of its own.
d.yaml:9:30  error  datasets[6].ower: unknown field; did you mean owner?
    Known here: name, path, owner, quotaMB, retentionDays and access.
d.yaml:10:21  error  datasets[7].path: /data/.howdah/g is in or above /data/.howdah, which is no place for datasets
    Give another path, such as /data/clicks.
`},
		{"no list", "warehouse: w\n", "d.yaml:1:1  error  datasets: is missing\n    The datasets\n"},
		{"two documents", "a: 1\n---\nb: 2\n", "d.yaml:1:1  error  the file must hold one document that declares datasets\n    Give warehouse and datasets.\n"},
		{"empty", "", "d.yaml:1:1  error  the file is empty\n    Give a JSON or YAML document.\n"},
	}
	for _, test := range tests {
		f, found := Parse("d.yaml", []byte(test.in))
		if f != nil {
			t.Errorf("%s: a file came back", test.name)
		}
		if diff := cmp.Diff(test.want, render(found)); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}
