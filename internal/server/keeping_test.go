package server_test

import (
	"net/http"
	"strings"
	"testing"

	"howdah.dev/howdah/api"
)

// TestKeepingIsForAdmins: what gives access to an installation's data, or replaces
// its parts, is refused to others.
func TestKeepingIsForAdmins(t *testing.T) {
	r := serve(t, newHome(t))
	token, err := r.c.CreateToken(t.Context(), api.TokenRequest{Project: "default", Role: "operator"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path, body string
		owner              int
	}{
		{http.MethodPost, "/v1/clusters/none/nodes/n/replace-agent", "", http.StatusNotFound},
		{http.MethodPost, "/v1/backups", "{}", http.StatusOK},
		{http.MethodPost, "/v1/backups", `{"without": ["none"]}`, http.StatusNotFound},
		{http.MethodGet, "/v1/backups/x", "", http.StatusOK},
		{http.MethodGet, "/v1/goroutines", "", http.StatusOK},
	} {
		for who, want := range map[string]int{token.Token: http.StatusForbidden, r.token(t): c.owner} {
			req, err := http.NewRequestWithContext(t.Context(), c.method, r.info.Address+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+who)
			if c.body != "" {
				req.Header.Set("Content-Type", "application/json")
			}
			resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s %s is answered %d, want %d", c.method, c.path, resp.StatusCode, want)
			}
		}
	}
	text, err := r.c.Goroutines(t.Context())
	if err != nil || !strings.Contains(text, "server.(*Server).serve(") {
		t.Errorf("nothing serves: %v\n%.300s", err, text)
	}
}
