package backup

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/api"
)

// Format is the version of the file's layout.
const Format = 1

// Names of members. Data is in data/CLUSTER/NODE/SERVICE/DIR/N.tar.gz.
const (
	memberManifest = "manifest.json"
	memberDatabase = "howdah.db"
	memberSettings = "settings.json"
	memberSubnet   = "subnet"
	dirStacks      = "stacks"
	dirData        = "data"
	dirNodes       = "nodes"
)

// maxManifest bounds a manifest, in bytes.
const maxManifest = 64 << 20

// Manifest says what a backup holds.
type Manifest struct {
	Format  int       `json:"format"`
	Howdah  string    `json:"howdah"` // version that wrote it
	Schema  int64     `json:"schema"` // of the database
	Created time.Time `json:"created"`
	Home    string    `json:"home"` // it was made of
	Host    string    `json:"host"`
	Subnet  string    `json:"subnet"`
	Images  bool      `json:"images"` // whether the registry's images are in it
	Stacks  []string  `json:"stacks,omitempty"`
	Data    []Data    `json:"data"`
	LeftOut []string  `json:"leftOut"` // data that is not in it, in words
	Members []Member  `json:"members"`
}

// Data is the copy of one directory of a service.
type Data struct {
	Cluster string `json:"cluster"`
	Node    string `json:"node"`
	Service string `json:"service"`
	Dir     string `json:"dir"`
	Point   string `json:"point"`
	Bytes   int64  `json:"bytes"`
}

// Member is one file of a backup.
type Member struct {
	Name   string `json:"name"`
	Mode   uint32 `json:"mode"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// dirOf is where the archives of a part are, as members.
func dirOf(p api.BackupPart) string {
	return path.Join(dirData, p.Cluster, p.Node, p.Service, p.Dir)
}

// ErrDamaged is returned for a file that is not what its manifest says.
var ErrDamaged = errors.New("the backup is damaged")

// check refuses a manifest that another version wrote or nobody honest did.
func (m Manifest) check() error {
	if m.Format != Format {
		return fmt.Errorf("the backup has format %d, written by howdah %s; this howdah reads format %d", m.Format, m.Howdah, Format)
	}
	seen := map[string]bool{}
	for _, mem := range m.Members {
		if !filepath.IsLocal(mem.Name) || path.Clean(mem.Name) != mem.Name || strings.Contains(mem.Name, "\\") || seen[mem.Name] {
			return fmt.Errorf("%w: it lists a file %q", ErrDamaged, mem.Name)
		}
		seen[mem.Name] = true
	}
	for _, need := range []string{memberDatabase, memberSettings, memberSubnet} {
		if !seen[need] {
			return fmt.Errorf("%w: it has no %s", ErrDamaged, need)
		}
	}
	if !slices.ContainsFunc(m.Members, func(mem Member) bool { return strings.HasPrefix(mem.Name, "ca/") }) {
		return fmt.Errorf("%w: it has no certificate authority", ErrDamaged)
	}
	return nil
}
