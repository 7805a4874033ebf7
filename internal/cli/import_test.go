package cli

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	cellapi "howdah.dev/howdah/internal/adapter/marathon"
	marathon "howdah.dev/howdah/internal/cell/app"
)

// TestImportTriesFirst: what the cell refuses of one group is found before another
// is made, and the findings are shown nevertheless.
func TestImportTriesFirst(t *testing.T) {
	const dump = `{"id": "/", "apps": [{"id": "/solo", "cmd": "x"}], "groups": [
		{"id": "/a", "apps": [{"id": "/a/web", "cmd": "x", "labels": {"HAPROXY_GROUP": "external"}}]}, {"id": "/b", "apps": [{"id": "/b/web", "cmd": "x"}]}]}`
	imp, bad := marathon.Import([]byte(dump), marathon.Settings{Role: "*"}, nil)
	if bad != nil {
		t.Fatal(bad)
	}
	tried := []string{"/v2/groups/a dryRun=true", "/v2/groups/b dryRun=true", "/v2/apps dryRun=true"}
	for _, c := range []struct {
		name, refuse string
		dry          bool
		calls        []string
		says         string
		code         int
	}{
		{"all is well", "none", false, append(append([]string{}, tried...), "/v2/groups/a dryRun=false", "/v2/groups/b dryRun=false", "/v2/apps dryRun=false"), "3 apps imported", 0},
		{"dry", "none", true, tried, "3 apps can be imported", 0},
		{"the second group is refused", "/v2/groups/b", false, tried[:2], "nothing balances load by it", exitInput},
		{"so are apps without a group", "/v2/apps", false, tried, "nothing balances load by it", exitInput},
	} {
		var calls []string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			calls = append(calls, r.URL.Path+" dryRun="+r.URL.Query().Get("dryRun"))
			if r.URL.Path == c.refuse {
				w.WriteHeader(http.StatusUnprocessableEntity)
			}
			_, _ = w.Write([]byte(`{"message": "Object is not valid"}`))
		}))
		var out bytes.Buffer
		a := &app{output: "table", out: &out, err: &out}
		err := a.takeOver(t.Context(), cellapi.New(cellapi.Config{URL: s.URL}), imp, c.dry, false)
		s.Close()
		code := 0
		if exit := (*exitError)(nil); errors.As(err, &exit) {
			code = exit.code
		}
		if diff := cmp.Diff(c.calls, calls); diff != "" || code != c.code || (err != nil) != (c.code != 0) {
			t.Errorf("%s: %v, exit code %d\n%s", c.name, err, code, diff)
		}
		if !strings.Contains(out.String(), c.says) || c.code != 0 && strings.Contains(out.String(), "imported") {
			t.Errorf("%s: %s", c.name, out.String())
		}
	}
}
