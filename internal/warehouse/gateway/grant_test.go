package gateway

import (
	"net/http/httptest"
	"testing"
)

func TestPermit(t *testing.T) {
	grant := Grant{Project: "ads", User: "ads", Datasets: []Dataset{
		{Name: "clicks", Path: "/data/clicks", Access: ReadWrite},
		{Name: "frozen", Path: "/data/clicks/frozen", Access: ReadOnly},
		{Name: "geo", Path: "/data/geo", Access: ReadOnly, User: "maps"},
		{Name: "shared", Path: "/data/shared", Access: ReadWrite, User: "maps"},
		{Name: "odd", Path: "/data/odd/", Access: ReadWrite},
		{Name: "root", Path: "/", Access: ReadWrite},
		{Name: "none", Path: "/data/none", Access: "admin"},
		{Name: "records", Path: "/data/.howdah", Access: ReadWrite},
	}}
	const all = "clicks (/data/clicks, rw), frozen (/data/clicks/frozen, ro), geo (/data/geo, ro), shared (/data/shared, rw), odd (/data/odd/, rw), root (/, rw), none (/data/none, admin), records (/data/.howdah, rw)"
	tests := []struct{ method, target, user, err string }{
		{"GET", "/data/clicks/a?op=OPEN", "ads", ""},
		{"GET", "/data/clicks?op=LISTSTATUS", "ads", ""},
		{"GET", "/data/geo/a?op=open", "maps", ""},
		{"PUT", "/data/clicks/a?op=CREATE", "ads", ""},
		{"PUT", "/data/clicks/a?op=RENAME&destination=/data/clicks/b", "ads", ""},
		{"PUT", "/data/shared/a?op=RENAME&destination=/data/shared/b", "maps", ""},
		{"POST", "/data/clicks/a?op=CONCAT&sources=/data/clicks/b,/data/clicks/c", "ads", ""},
		{"GET", "/etc/x?op=GETHOMEDIRECTORY", "ads", ""},
		{"PUT", "/data/clicks?op=MKDIRS", "ads", ""},
		{"GET", "/data?op=LISTSTATUS", "", "/data is in no dataset of project ads; its datasets are " + all},
		{"GET", "/data/clicks2/a?op=OPEN", "", "/data/clicks2/a is in no dataset of project ads; its datasets are " + all},
		{"GET", "/data/odd/a?op=OPEN", "", "/data/odd/a is in no dataset of project ads; its datasets are " + all},
		{"GET", "/etc?op=OPEN", "", "/etc is in no dataset of project ads; its datasets are " + all},
		{"GET", "/data/none/a?op=OPEN", "", `dataset none cannot be used: its access is "admin"`},
		{"PUT", "/data/.howdah/datasets/clicks.json?op=CREATE&overwrite=true", "", "/data/.howdah/datasets/clicks.json is Howdah's own and in no dataset"},
		{"PUT", "/data/clicks/a?op=RENAME&destination=/data/.howdah/a", "", "/data/.howdah/a is Howdah's own and in no dataset"},
		{"PUT", "/data/geo/a?op=CREATE", "", "dataset geo is read-only for project ads: CREATE is not allowed on /data/geo/a"},
		{"POST", "/data/clicks/frozen/a?op=APPEND", "", "dataset frozen is read-only for project ads: APPEND is not allowed on /data/clicks/frozen/a"},
		{"PUT", "/data/clicks/a?op=RENAME&destination=/data/geo/a", "", "dataset geo is read-only for project ads: RENAME is not allowed on /data/geo/a"},
		{"PUT", "/data/geo/a?op=RENAME&destination=/data/clicks/a", "", "dataset geo is read-only for project ads: RENAME is not allowed on /data/geo/a"},
		{"PUT", "/data/clicks/a?op=RENAME&destination=/data/shared/a", "", "/data/clicks/a and /data/shared/a belong to different owners; copy the file instead"},
		{"POST", "/data/clicks/a?op=CONCAT&sources=/data/clicks/b,/etc/c", "", "/etc/c is in no dataset of project ads; its datasets are " + all},
		{"DELETE", "/data/clicks?op=DELETE&recursive=true", "", "DELETE of /data/clicks would take away or replace the folder of dataset clicks; name what is in it"},
		{"PUT", "/data/clicks?op=RENAME&destination=/data/clicks/x", "", "RENAME of /data/clicks would take away or replace the folder of dataset clicks; name what is in it"},
		{"DELETE", "/data/shared/?op=DELETE", "", "DELETE of /data/shared would take away or replace the folder of dataset shared; name what is in it"},
		{"GET", "/data/clicks/%2566rozen/a?op=OPEN", "", "/data/clicks/%66rozen/a could be read as a path of two datasets, clicks and frozen"},
		{"DELETE", "/data/clicks/a?op=OPEN", "", "OPEN needs the HTTP method GET, not DELETE"},
		{"PUT", "/data/clicks/a?op=SETPERMISSION", "", "SETPERMISSION is not allowed through the gateway: who may use a dataset is declared with it; give permission= with CREATE or MKDIRS"},
		{"PUT", "/data/clicks/a?op=CREATE&OP=DELETE", "", `the parameter "op" is given more than once`},
		{"PUT", "/data/clicks/a?op=RENAME", "", `the path "" does not start with a slash; give the whole path`},
		{"GET", "/data/clicks?op=LISTSTATUS_BATCH&startAfter=/.reserved/x", "", "startAfter is a name, without slashes"},
		{"GET", "/data/clicks?op=OPEN;op=DELETE", "", "the query cannot be read: encode %, ; and & in values"},
	}
	for _, test := range tests {
		c, err := parse(httptest.NewRequest(test.method, prefix+test.target, nil))
		user := ""
		if err == nil {
			user, err = grant.permit(c)
		}
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != test.err || user != test.user {
			t.Errorf("%s %s: got %q, %q, want %q, %q", test.method, test.target, user, got, test.user, test.err)
		}
	}
	none := Grant{Project: "ads", Datasets: grant.Datasets}
	c, _ := parse(httptest.NewRequest("GET", prefix+"/data/clicks?op=GETFILESTATUS", nil))
	if _, err := none.permit(c); err == nil || err.Error() != "GETFILESTATUS is not allowed: the token names no HDFS user" {
		t.Errorf("no user: %v", err)
	}
}

// TestEveryOperationIsBound: what changes something needs write, and the list
// names no operation of the owner's.
func TestEveryOperationIsBound(t *testing.T) {
	for name, op := range operations {
		if op.method != "GET" && op.need != write {
			t.Errorf("%s changes something and needs no write access", name)
		}
		if op.method == "GET" && op.need == write {
			t.Errorf("%s changes nothing and needs write access", name)
		}
		if refusedFor[name] != "" {
			t.Errorf("%s is let through and refused", name)
		}
	}
}
