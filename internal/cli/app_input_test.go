package cli

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"howdah.dev/howdah/internal/adapter/marathon"
)

// TestAppDefinition: what is wrong with a file is said with its name and its line.
func TestAppDefinition(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.json")
	for _, tt := range []struct{ text, want string }{
		{`{"id": "a", "cpus": 1}`, ""},
		{"id: a\ncpus: 1\n", ""},
		{"{\n  \"id\": \"a\"\n  \"cpus\": 1}", "line 3, column 3: invalid character '\"' after object key:value pair"},
		{`{"id": "a"`, "line 1, column 10: unexpected end of JSON input"},
		{`[{"id": "a"}]`, "it is a list; wanted is one app, an object"},
		{"\n", "it is empty; wanted is the definition of an app"},
	} {
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := (&app{}).appDefinition(file, nil, nil)
		switch {
		case tt.want == "" && (err != nil || m["id"] != "/a" || len(m) != 2):
			t.Errorf("%s: %v, %v", tt.text, m, err)
		case tt.want != "" && (err == nil || err.Error() != "cannot read "+file+": "+tt.want):
			t.Errorf("%s: %v", tt.text, err)
		}
	}
}

// TestLogsOfNone: of a task that wrote nothing it is said how it ended.
func TestLogsOfNone(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slaves" {
			_, _ = w.Write([]byte(`{"slaves": [{"id": "s", "hostname": "w1", "url": "http://` + r.Host + `"}]}`))
			return
		}
		if r.URL.Path == "/v2/info" {
			_, _ = w.Write([]byte(`{"frameworkId": "f"}`))
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	defer s.Close()
	a := &app{output: "table"}
	c := &cell{Client: marathon.New(marathon.Config{URL: s.URL}), master: s.URL}
	err := a.printLogs(t.Context(), c, []chosen{{"t1", "s", "w1", "TASK_FAILED no such image"}}, "stdout", 1, false)
	exit := &exitError{}
	if !errors.As(err, &exit) || exit.code != exitNotFound || err.Error() != "task t1 has no file stdout (any more); it ended, perhaps before it started: TASK_FAILED no such image" {
		t.Error(err)
	}
}
