package proc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Sweep ends every process whose labels match, and their descendants without labels
// of their own: SIGTERM, after grace SIGKILL, until none is left, those forked
// meanwhile included. Never the calling process. It returns whom it ended, also
// when it fails. An empty Service or zero Incarnation of match stands for any.
//
// It does not see processes that threw the labels away and whose labelled ancestors
// had all ended before the sweep began.
func Sweep(ctx context.Context, match Labels, grace time.Duration) (killed []Record, err error) {
	if match.Node == "" {
		return nil, errors.New("cannot sweep processes: the labels name no node")
	}
	boot, err := BootID()
	if err != nil {
		return nil, err
	}
	s := sweep{match: match, boot: boot, asked: map[procKey]Record{}, denied: map[procKey]error{}}
	err = s.run(ctx, time.Now().Add(grace))
	return s.ended(), err
}

type procKey struct {
	pid        int
	startTicks uint64
}

type sweep struct {
	match  Labels
	boot   string
	asked  map[procKey]Record // whom a signal has reached
	denied map[procKey]error  // whom we may not signal
	left   map[procKey]bool   // of asked, as of the last round
}

// run ends after two rounds in a row find nobody: a process forked behind the
// reader's back, or read in the middle of an exec, shows up in the second.
func (s *sweep) run(ctx context.Context, kill time.Time) error {
	pause, clean := 5*time.Millisecond, 0
	for {
		sig := syscall.SIGTERM
		if !time.Now().Before(kill) {
			sig = syscall.SIGKILL
		}
		unsure, err := s.round(sig)
		if err != nil {
			return fmt.Errorf("cannot sweep %s: %w", s.match, err)
		}
		if len(s.left) > 0 {
			clean = 0
		} else if clean++; clean == 2 {
			return s.refusals()
		} else if !unsure {
			continue
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot sweep %s: %s: %w", s.match, s.remaining(), context.Cause(ctx))
		case <-time.After(min(pause, max(time.Until(kill), 5*time.Millisecond))):
			pause = min(2*pause, 100*time.Millisecond)
		}
	}
}

// round signals the matching processes: SIGTERM once each, SIGKILL every time.
func (s *sweep) round(sig syscall.Signal) (unsure bool, err error) {
	all, err := scan()
	if err != nil {
		return false, err
	}
	s.left = map[procKey]bool{}
	for _, e := range s.choose(all) {
		key := procKey{e.pid, e.startTicks}
		if s.denied[key] != nil {
			continue
		}
		if _, done := s.asked[key]; !done || sig == syscall.SIGKILL {
			if err := signalExact(e.pid, e.startTicks, sig); isGone(err) {
				continue
			} else if err != nil {
				s.denied[key] = err
				continue
			}
		}
		s.asked[key] = Record{BootID: s.boot, PID: e.pid, StartTicks: e.startTicks, Labels: e.Labels}
		s.left[key] = true
	}
	return slices.ContainsFunc(all, func(e entry) bool { return e.inExec }), nil
}

// choose picks those that match, and what descends from them without a label.
func (s *sweep) choose(all []entry) []entry {
	self := os.Getpid()
	children := map[int][]entry{}
	var queue []entry
	for _, e := range all {
		_, asked := s.asked[procKey{e.pid, e.startTicks}]
		switch {
		case e.pid == self:
		case asked || e.hasLabels && s.match.Matches(e.Labels):
			queue = append(queue, e)
		case !e.hasLabels:
			children[e.ppid] = append(children[e.ppid], e)
		}
	}
	for i := 0; i < len(queue); i++ {
		queue = append(queue, children[queue[i].pid]...)
		delete(children, queue[i].pid)
	}
	return queue
}

// signalExact reaches the process with that number and start time, or none.
func signalExact(pid int, startTicks uint64, sig syscall.Signal) error {
	fd, err := openExact(pid, startTicks)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil {
		return err
	}
	if sig == syscall.SIGTERM {
		_ = unix.PidfdSendSignal(fd, syscall.SIGCONT, nil, 0) // a stopped one would not notice
	}
	return nil
}

func (s *sweep) ended() []Record {
	var gone []Record
	for key, rec := range s.asked {
		if !s.left[key] {
			gone = append(gone, rec)
		}
	}
	slices.SortFunc(gone, func(a, b Record) int { return a.PID - b.PID })
	return gone
}

func (s *sweep) remaining() string {
	var names []string
	for key := range s.left {
		names = append(names, fmt.Sprintf("%d (%s)", key.pid, firstWord(Command(key.pid))))
	}
	slices.Sort(names)
	return "still alive: pid " + strings.Join(names, ", ")
}

func (s *sweep) refusals() error {
	var errs []error
	for _, key := range slices.SortedFunc(maps.Keys(s.denied), func(a, b procKey) int { return a.pid - b.pid }) {
		if st, err := readStat(key.pid); err == nil && st.startTicks == key.startTicks && !st.dead() {
			errs = append(errs, fmt.Errorf("cannot sweep pid %d (%s): %w", key.pid, firstWord(Command(key.pid)), s.denied[key]))
		}
	}
	return errors.Join(errs...)
}

func firstWord(s string) string {
	word, _, _ := strings.Cut(s, " ")
	return word
}
