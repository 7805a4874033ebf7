package process

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/cell/policy"
	"howdah.dev/howdah/internal/warehouse/webhdfstest"
)

const clicksRecord = `{"format": "howdah.dataset-record/1", "dataset": {"name": "clicks", "path": "/data/clicks", "owner": "ads", "access": [{"project": "bi"}]}}`

// TestDeclaredDatasets: the scheduler learns from the warehouse what is declared,
// before a change and not more often than need be, and remembers it while the
// warehouse is away.
func TestDeclaredDatasets(t *testing.T) {
	s := webhdfstest.New(t)
	s.Put("/data/.howdah/datasets/clicks.json", clicksRecord)
	d := WarehouseConfig{Web: s.Name.URL, User: "root"}.datasets(slog.New(slog.DiscardHandler))
	h := d.before(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	change := func(method string) policy.Policy {
		d.due = time.Time{}
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, "/v2/apps", nil))
		return d.of("bi", policy.Policy{Datasets: []string{"/x"}})
	}
	if p := change("GET"); p.Unknown != "the warehouse was not asked yet" || len(s.Requests()) > 0 {
		t.Errorf("after reading: %+v", p)
	}
	want := policy.Policy{Datasets: []string{"/x"}, Declared: []policy.Dataset{{Name: "clicks", Path: "/data/clicks", Owner: "ads", Read: true}}}
	if diff := cmp.Diff(want, change("PUT")); diff != "" {
		t.Error(diff)
	}
	if p := d.of("ads", policy.Policy{}); len(p.Declared) != 1 || !p.Declared[0].Write {
		t.Errorf("the owner: %+v", p)
	}
	if p := d.of("shop", policy.Policy{}); len(p.Declared) != 1 || p.Declared[0].Read || p.Declared[0].Write {
		t.Errorf("another: %+v", p)
	}
	s.Requests()
	if change("POST"); len(s.Requests()) != 1 {
		t.Error("what has not changed was read again")
	}
	if d.refresh(t.Context()); len(s.Requests()) != 0 {
		t.Error("it was asked again at once")
	}
	s.Put("/data/.howdah/datasets/clicks.json", strings.Replace(clicksRecord, "bi", "shop", 1))
	if p := change("PATCH"); p.Declared[0].Read {
		t.Errorf("after access was taken away: %+v", p)
	}

	s.Intercept(func(w http.ResponseWriter, _ *http.Request, _ string) bool {
		webhdfstest.Refuse(w, http.StatusForbidden, "StandbyException", "away")
		return true
	})
	if p := change("DELETE"); p.Unknown != "" || len(p.Declared) != 1 {
		t.Errorf("while the warehouse is away: %+v", p)
	}
	d = WarehouseConfig{Web: s.Name.URL, User: "root"}.datasets(slog.New(slog.DiscardHandler))
	h = d.before(h)
	if p := change("PUT"); !strings.HasPrefix(p.Unknown, "cannot read the declared datasets: ") {
		t.Errorf("a warehouse that never answered: %+v", p)
	}
}

// TestSlowWarehouse: a change does not wait for ever, and the next not at all.
func TestSlowWarehouse(t *testing.T) {
	s := webhdfstest.New(t)
	end := make(chan struct{})
	defer close(end)
	s.Intercept(func(http.ResponseWriter, *http.Request, string) bool {
		<-end
		return true
	})
	d := WarehouseConfig{Web: s.Name.URL, User: "root"}.datasets(slog.New(slog.DiscardHandler))
	began := time.Now()
	for range 5 {
		d.refresh(t.Context())
	}
	if took := time.Since(began); took < datasetsWait || took > 2*datasetsWait {
		t.Errorf("it took %s", took)
	}
}

// TestNoWarehouse: in a cell without one nothing is declared, and nothing asked.
func TestNoWarehouse(t *testing.T) {
	d := WarehouseConfig{}.datasets(nil)
	h := http.NewServeMux()
	if d.before(h) != http.Handler(h) || d.of("shop", policy.Policy{}).Unknown != "" {
		t.Error("a cell without a warehouse waits for one")
	}
}
