package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"slices"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
)

const (
	maxConditions     = 20
	maxConditionsFile = 64 << 10 // bytes
)

// conditionType is what a condition may be called.
var conditionType = regexp.MustCompile(`^[A-Z][A-Za-z]{0,62}$`)

// hear takes over what the program says of itself. A file that cannot be read says
// nothing.
func (s *service) hear(spec *agentapi.Service) {
	if spec == nil || spec.Conditions == "" {
		return
	}
	var said []api.Condition
	text, err := readUpTo(spec.Conditions, maxConditionsFile)
	if err == nil {
		err = json.Unmarshal(text, &said)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.agent.log.Warn("cannot read what a service says of itself", "service", s.name, "error", err)
	}
	said = slices.DeleteFunc(said, func(c api.Condition) bool {
		return !conditionType.MatchString(c.Type) || c.Type == api.ConditionDataMissing
	})
	said = said[:min(len(said), maxConditions)]
	s.mu.Lock()
	changed := !reflect.DeepEqual(s.said, said)
	s.said = said
	s.mu.Unlock()
	if changed {
		s.agent.changed()
	}
}

func readUpTo(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return text, err
}
