package master

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"github.com/google/uuid"

	"howdah.dev/howdah/internal/cell/mesos"
)

// fileFormat is written into the file; a file of another format is refused.
const fileFormat = 1

// saved is all that outlives a master.
type saved struct {
	Format     int                       `json:"format"`
	ID         string                    `json:"id"`
	Starts     int                       `json:"starts"` // makes ids of offers unlike those of earlier starts
	NextFrame  int                       `json:"nextFramework"`
	NextWorker int                       `json:"nextWorker"`
	Frameworks map[string]savedFramework `json:"frameworks"`
	Removed    []string                  `json:"removed"` // ids of frameworks, newest last
	Workers    map[string]savedWorker    `json:"workers"`
}

// savedFramework is a framework that may come back.
type savedFramework struct {
	Info       mesos.FrameworkInfo `json:"info"`
	Registered time.Time           `json:"registered"`
	Guessed    bool                `json:"guessed,omitempty"` // only its tasks are known
}

// savedWorker is a worker that may come back.
type savedWorker struct {
	Hostname    string     `json:"hostname"`
	Unreachable *time.Time `json:"unreachable,omitempty"`
}

func stateFile(dir string) string { return filepath.Join(dir, "master.json") }

// load reads the file; none is a new master.
func load(file string) (*saved, error) {
	s := &saved{Format: fileFormat, ID: uuid.NewString()}
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("cannot read the master's state: %w", err)
	default:
		if err := json.Unmarshal(text, s); err != nil {
			return nil, fmt.Errorf("cannot read the master's state in %s: %w", file, err)
		}
		if s.Format != fileFormat {
			return nil, fmt.Errorf("cannot read the master's state in %s: its format is %d, this howdah knows %d", file, s.Format, fileFormat)
		}
	}
	if s.Frameworks == nil {
		s.Frameworks = map[string]savedFramework{}
	}
	if s.Workers == nil {
		s.Workers = map[string]savedWorker{}
	}
	s.Starts++
	return s, save(file, s)
}

// save replaces the file: after a crash it is the old one or the new one, whole.
func save(file string, s *saved) error {
	text, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return fmt.Errorf("cannot write the master's state: %w", err)
	}
	if err := renameio.WriteFile(file, text, 0o600); err != nil {
		return fmt.Errorf("cannot write the master's state: %w", err)
	}
	return nil
}
