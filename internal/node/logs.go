package node

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/logline"
	"howdah.dev/howdah/internal/session"
)

const (
	dirLogs = "logs"
	extLog  = ".out"
)

// logSource is one log while a session shows it.
type logSource struct {
	service string // as lines name it
	reader  logReader
	to      int64 // end of what there was when the session began
	failed  bool  // said once
}

// logSession shows logs of the node.
type logSession struct {
	agent   *Agent
	stream  *session.Stream
	request agentapi.LogsRequest
	sources []*logSource
	out     bytes.Buffer // lines on their way
}

// sendLogs sends the lines that are asked for, merged by time, and with follow those
// that come, until the session ends.
func (a *Agent) sendLogs(ctx context.Context, st *session.Stream, r agentapi.LogsRequest) error {
	s := &logSession{agent: a, stream: st, request: r}
	s.look()
	for _, src := range s.sources {
		if err := s.begin(ctx, src); err != nil {
			s.gap(src, 0, err)
		} else if r.Previous && src.reader.pos == src.to {
			s.notice(src, "there is no earlier incarnation in the log")
		}
	}
	for l := range logline.Merge(earlier, s.backlogs(ctx)...) {
		if err := s.add(l); err != nil {
			return err
		}
	}
	if err := s.flush(); err != nil {
		return err
	}
	if err := st.Send(session.FrameReady, nil); err != nil || !r.Follow {
		return err
	}
	return s.follow(ctx)
}

// look finds the logs that are asked for and not among the sources yet.
func (s *logSession) look() {
	a := s.agent
	for _, f := range a.logs() {
		known := slices.ContainsFunc(s.sources, func(have *logSource) bool { return have.service == f.service })
		if known || !s.wants(f.service) || f.own && s.request.Previous {
			continue
		}
		s.sources = append(s.sources, &logSource{service: f.service, reader: logReader{file: logFile{&a.rotations, f.dir, f.name}}})
	}
}

// wants tells whether a log was asked for; what one-time tasks printed comes with
// their service.
func (s *logSession) wants(service string) bool {
	if len(s.request.Services) == 0 {
		return service != agentapi.LogAgent
	}
	return slices.ContainsFunc(s.request.Services, func(name string) bool {
		return service == name || strings.HasPrefix(service, name+"/")
	})
}

// namedLog is a log of the node: a file in a directory that nothing outside of is
// read of.
type namedLog struct {
	service, dir, name string
	own                bool // kept by the program, without marks of incarnations
}

// maxOwnLogs bounds how many logs that a service keeps itself are looked at: the newest.
const maxOwnLogs = 100

// ownLogs lists the logs that a service keeps beside what it prints, by the time they
// were last written to.
func ownLogs(dir string, patterns []string) []string {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil // it has not begun
	}
	defer root.Close()
	written := map[string]time.Time{}
	for _, p := range patterns {
		names, _ := fs.Glob(root.FS(), p) // a stack's patterns are well-formed
		for _, name := range names {
			if info, err := root.Lstat(name); err == nil && info.Mode().IsRegular() && !strings.ContainsFunc(name, unicode.IsControl) {
				written[name] = info.ModTime()
			}
		}
	}
	names := slices.Sorted(maps.Keys(written))
	slices.SortStableFunc(names, func(x, y string) int { return written[y].Compare(written[x]) })
	return names[:min(len(names), maxOwnLogs)]
}

// logs lists the logs of the node: of its services, of what they ran once and what
// they keep themselves, of the agent.
func (a *Agent) logs() []namedLog {
	a.mu.Lock()
	dirs, own := map[string]string{}, map[string][]string{}
	for name, s := range a.services {
		if spec := s.last(); spec != nil {
			dirs[name], own[name] = spec.Dir, spec.Logs
		}
	}
	a.mu.Unlock()
	out := []namedLog{{service: agentapi.LogAgent, dir: a.path(dirAgent), name: fileLog}}
	for service, dir := range dirs {
		out = append(out, namedLog{service: service, dir: dir, name: filepath.Join(dirLogs, service+extLog)})
		for _, name := range ownLogs(dir, own[service]) {
			out = append(out, namedLog{service + "/" + name, dir, name, true})
		}
		files, err := os.ReadDir(filepath.Join(dir, dirLogs))
		if err != nil {
			continue // it has not begun
		}
		for _, f := range files {
			name, isLog := strings.CutSuffix(f.Name(), extLog)
			if _, other := dirs[name]; !isLog || other || f.Type() != fs.FileMode(0) {
				continue
			}
			out = append(out, namedLog{service: service + "/" + name, dir: dir, name: filepath.Join(dirLogs, f.Name())})
		}
	}
	slices.SortFunc(out, func(x, y namedLog) int { return cmp.Compare(x.service, y.service) })
	return out
}

// mark is a place in a log and the clock before it.
type mark struct {
	place int64
	clock logline.Clock
}

// begin finds the first line to show, by reading the log once.
func (s *logSession) begin(ctx context.Context, src *logSource) error {
	from, to, err := src.reader.file.bounds()
	if err != nil {
		return err
	}
	src.reader.pos, src.to = from, to
	if s.request.Tail < 0 && s.request.Since.IsZero() && !s.request.Previous {
		return nil
	}
	scan := src.reader
	scan.buf = make([]byte, chunk)
	c := chooser{request: s.request, begins: []mark{{place: from}}, end: to}
	for more := true; more && ctx.Err() == nil; {
		if more, _, err = scan.read(to, c.line); err != nil {
			return err
		}
	}
	scan.unfinished(c.line)
	first, end := c.choose(mark{to, scan.clock})
	src.reader.pos, src.reader.clock, src.to = first.place, first.clock, end
	return nil
}

// chooser finds the first and last line to show while the lines of a log pass by.
type chooser struct {
	request agentapi.LogsRequest
	begins  []mark // of incarnations, the last two
	kept    []mark // lines that are late enough; a ring of the last Tail
	next    int    // oldest of the ring, once it is full
	end     int64
}

func (c *chooser) line(l logLine) bool {
	m := mark{l.place, l.clock}
	if strings.Contains(l.text, markBegan) && isMark(l.text) {
		c.begins = append(c.begins, m)
		c.begins = c.begins[max(0, len(c.begins)-2):]
		if c.request.Previous { // the lines so far are of the previous one, or older
			c.end = m.place
		}
	}
	late := !l.at.Before(c.request.Since)
	switch {
	case c.request.Previous || !late || c.request.Tail == 0:
	case c.request.Tail < 0 && len(c.kept) > 0:
	case c.request.Tail < 0 || len(c.kept) < c.request.Tail:
		c.kept = append(c.kept, m)
	default:
		c.kept[c.next] = m
		c.next = (c.next + 1) % len(c.kept)
	}
	return true
}

// choose returns the first line to show, and where to end.
func (c *chooser) choose(atEnd mark) (first mark, end int64) {
	switch {
	case c.request.Previous && len(c.begins) < 2:
		return mark{place: c.begins[0].place}, c.begins[0].place // there is none
	case c.request.Previous:
		return c.begins[0], c.begins[1].place
	case len(c.kept) == 0:
		return atEnd, c.end
	}
	return c.kept[c.next], c.end
}

// backlogs are the lines there were when the session began.
func (s *logSession) backlogs(ctx context.Context) []iter.Seq[api.LogLine] {
	var out []iter.Seq[api.LogLine]
	for _, src := range s.sources {
		out = append(out, func(yield func(api.LogLine) bool) {
			goesOn := true
			give := func(l logLine) bool {
				goesOn = yield(s.line(src, l)) && ctx.Err() == nil
				return goesOn
			}
			for more := true; more && goesOn; {
				var lost int64
				var err error
				more, lost, err = src.reader.read(src.to, give)
				if lost != 0 || err != nil {
					s.gap(src, lost, err)
				}
			}
			if goesOn && !s.request.Follow {
				src.reader.unfinished(give)
			}
		})
	}
	return out
}

func (s *logSession) line(src *logSource, l logLine) api.LogLine {
	out := api.LogLine{Node: s.agent.nodeName(), Service: src.service, Text: l.text}
	if !l.at.IsZero() {
		out.Time = &l.at
	}
	return out
}

// follow sends what comes.
func (s *logSession) follow(ctx context.Context) error {
	looked := time.Now()
	for ctx.Err() == nil {
		if time.Since(looked) > lookForLogs {
			looked = time.Now()
			s.look() // all of a new log has come since
		}
		var lines []api.LogLine
		busy := false
		for _, src := range s.sources {
			more, lost, err := src.reader.read(math.MaxInt64, func(l logLine) bool {
				lines = append(lines, s.line(src, l))
				return true
			})
			if lost != 0 || err != nil {
				s.gap(src, lost, err)
			}
			busy = busy || more
		}
		slices.SortStableFunc(lines, func(x, y api.LogLine) int { return timeOf(x).Compare(timeOf(y)) })
		for _, l := range lines {
			if err := s.add(l); err != nil {
				return err
			}
		}
		if err := s.flush(); err != nil {
			return err
		}
		if !busy {
			sleep(ctx, pollLog)
		}
	}
	return context.Cause(ctx)
}

// gap says why lines are missing.
func (s *logSession) gap(src *logSource, lost int64, err error) {
	switch {
	case err != nil && !src.failed:
		src.failed = true
		s.notice(src, "cannot read it: %v", err)
	case lost > 0:
		s.notice(src, "%d bytes are missing here: rotation removed them before they were read", lost)
	case lost < 0:
		s.notice(src, "somebody emptied the log; it is shown from its beginning")
	}
}

func (s *logSession) notice(src *logSource, format string, args ...any) {
	_ = s.add(api.LogLine{Node: s.agent.nodeName(), Service: src.service, Text: fmt.Sprintf(format, args...), Notice: true}) // the next line finds the stream ended
}

func (s *logSession) add(l api.LogLine) error {
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	s.out.Write(append(data, '\n'))
	if s.out.Len() < api.MaxFrame/2 {
		return nil
	}
	return s.flush()
}

func (s *logSession) flush() error {
	defer s.out.Reset()
	if s.out.Len() == 0 {
		return nil
	}
	return s.stream.Send(session.FrameLines, s.out.Bytes())
}

// earlier is the order of lines of several logs; those without a time come first.
func earlier(a, b api.LogLine) bool { return timeOf(a).Before(timeOf(b)) }

func timeOf(l api.LogLine) time.Time {
	if l.Time == nil {
		return time.Time{}
	}
	return *l.Time
}

// nodeName is what the operator knows the node by: its name, or its id before it has
// an assignment.
func (a *Agent) nodeName() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.assignment == nil {
		return a.nodeID()
	}
	return a.assignment.Node.Name
}
