package shim

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// serveControl answers the worker on a socket in the state directory. The working
// directory is there, so its path is short whatever the directory's is.
func (s *shim) serveControl() error {
	_ = os.Remove(ControlFile)
	l, err := net.Listen("unix", ControlFile)
	if err != nil {
		return fmt.Errorf("cannot listen for the worker: %w", err)
	}
	if err := os.Chmod(ControlFile, 0o600); err != nil {
		return fmt.Errorf("cannot listen for the worker: %w", err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			go s.answer(c)
		}
	}()
	return nil
}

func (s *shim) answer(c net.Conn) {
	defer c.Close()
	var r request
	_ = c.SetReadDeadline(time.Now().Add(dialTimeout))
	if err := readLine(c, &r); err != nil {
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	switch {
	case r.Dial != nil:
		to, err := s.netns.dial("tcp", r.Dial.Port, r.Dial.Hosts...)
		if err != nil {
			_ = writeLine(c, answer{Error: err.Error()})
			return
		}
		defer to.Close()
		if writeLine(c, answer{}) == nil {
			join(c, to)
		}
	case r.Exec != nil:
		s.exec(c, *r.Exec)
	default:
		_ = writeLine(c, answer{Error: "unknown request"})
	}
}
