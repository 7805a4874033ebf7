package node

import (
	"fmt"
	"os"
	"regexp"
	"time"

	"golang.org/x/sys/unix"

	"howdah.dev/howdah/internal/agentapi"
)

// Words of the lines that tell a log's incarnations apart.
const (
	markSign  = " [howdah] incarnation "
	markBegan = " begins"
)

var markLine = regexp.MustCompile(`^\d{4}-\d\d-\d\dT[0-9:.]+Z \[howdah\] incarnation \d+ `)

// isMark tells the agent's own lines in a service's output from the program's.
func isMark(line string) bool { return markLine.MatchString(line) }

// mark writes into the service's output where an incarnation begins or how it ended.
// The lines travel with the log through rotation. A log that cannot be written is not
// worth more than the service.
func (s *service) mark(spec *agentapi.Service, what string) {
	f, err := os.OpenFile(s.output(spec), os.O_RDWR|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o640)
	if err != nil {
		return
	}
	defer f.Close()
	start := ""
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			start = "\n" // a line that was cut short
		}
	}
	_, _ = fmt.Fprintf(f, "%s%s%s%d%s\n", start, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), markSign, s.rec.Incarnation, what)
}
