package process

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"howdah.dev/howdah/internal/adapter/webhdfs"
	"howdah.dev/howdah/internal/cell/policy"
	"howdah.dev/howdah/internal/warehouse/dataset"
)

const (
	// datasetsFresh is how old what is known may be when an app is judged.
	datasetsFresh = time.Second
	// datasetsWait is how long a change waits for the warehouse.
	datasetsWait = 2 * time.Second
	// datasetsRest is how long a warehouse that does not answer is left alone.
	datasetsRest = 5 * time.Second
)

// datasets knows what is declared in the cell's warehouse. It asks the warehouse
// itself, so that neither it nor an app needs the Howdah server. While the
// warehouse is away, what was read last counts. The zero value is of a cell
// without a warehouse, where nothing is declared.
type datasets struct {
	catalog *dataset.Catalog
	log     *slog.Logger
	mu      sync.Mutex // of catalog and due
	due     time.Time  // when to ask again
	now     atomic.Pointer[declared]
}

// declared is what is known at one time; why says why nothing is.
type declared struct {
	all []dataset.Dataset
	why string
}

// datasets reads declarations as any user may.
func (c WarehouseConfig) datasets(log *slog.Logger) *datasets {
	if c.Web == "" {
		return &datasets{}
	}
	d := &datasets{catalog: dataset.NewCatalog(webhdfs.New(webhdfs.Config{Addresses: []string{c.Web}, User: c.user()})), log: log}
	d.now.Store(&declared{why: "the warehouse was not asked yet"})
	return d
}

// before looks at the declarations before a request that may change apps.
func (d *datasets) before(next http.Handler) http.Handler {
	if d.catalog == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			d.refresh(r.Context())
		}
		next.ServeHTTP(w, r)
	})
}

func (d *datasets) refresh(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Now().Before(d.due) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, datasetsWait)
	defer cancel()
	all, err := d.catalog.Read(ctx)
	if err == nil {
		d.due = time.Now().Add(datasetsFresh)
		d.now.Store(&declared{all: all})
		return
	}
	d.due = time.Now().Add(datasetsRest)
	d.log.Warn("the declared datasets cannot be read", "error", err)
	if now := d.now.Load(); now.why != "" {
		d.now.Store(&declared{why: err.Error()})
	}
}

// of adds to a project's policy what is declared.
func (d *datasets) of(project string, p policy.Policy) policy.Policy {
	if d.catalog == nil {
		return p
	}
	now := d.now.Load()
	p.Unknown = now.why
	for _, s := range now.all {
		mode, _ := s.ModeFor(project)
		p.Declared = append(p.Declared, policy.Dataset{
			Name: s.Name, Path: s.Path, Owner: s.Owner, Read: mode != "", Write: mode == dataset.ReadWrite,
		})
	}
	return p
}

// owner returns the project whose declared dataset a path is in, "" for none.
func (d *datasets) owner(path string) string {
	if d.catalog == nil {
		return ""
	}
	d.refresh(context.Background())
	best := dataset.Dataset{}
	for _, s := range d.now.Load().all {
		if policy.UnderPrefix(path, s.Path) && len(s.Path) > len(best.Path) {
			best = s
		}
	}
	return best.Owner
}
