package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// listener is a client of events. It returns after it was cut off, and takes up
// where it was.
type listener struct {
	api  *api
	hear func(kind string, body []byte) // is given each event that is no longer than a line's buffer; nil: none

	mu    sync.Mutex
	count map[string]int // events by type
	last  string         // id of the newest
	lost  int            // events whose numbers were skipped
	cuts  int            // connections that ended
}

// listen connects a client of events until ctx ends; it returns when it is connected.
func (a *api) listen(ctx context.Context, wg *sync.WaitGroup, hear func(kind string, body []byte)) (*listener, error) {
	l := &listener{api: a, hear: hear, count: map[string]int{}}
	attached := make(chan error, 1)
	wg.Go(func() {
		for first := true; ctx.Err() == nil; first = false {
			err := l.connect(ctx, attached)
			if first && err != nil {
				select {
				case attached <- err:
				default: // it was connected, and is not any more
				}
			}
			l.mu.Lock()
			l.cuts++
			l.mu.Unlock()
			_ = sleep(ctx, 10*time.Millisecond)
		}
	})
	select {
	case err := <-attached:
		return l, err
	case <-ctx.Done():
		return l, context.Cause(ctx)
	}
}

// connect is one connection. attached is told when it stands.
func (l *listener) connect(ctx context.Context, attached chan<- error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.api.url+"/v2/events", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Authorization", "Bearer "+l.api.secret)
	if l.last != "" {
		req.Header.Set("Last-Event-ID", l.last)
	}
	resp, err := l.api.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the events are refused: %s", resp.Status)
	}
	select {
	case attached <- nil:
	default: // not the first connection
	}
	return l.read(resp.Body)
}

func (l *listener) read(body io.Reader) error {
	lines := bufio.NewReaderSize(body, 64<<10)
	var kind string
	for {
		line, err := lines.ReadSlice('\n')
		switch {
		case err == bufio.ErrBufferFull: //nolint:errorlint // it comes as it is; of a long line only the beginning is looked at
			if err := skip(lines); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		if name, ok := bytes.CutPrefix(line, []byte("event: ")); ok {
			kind = string(name)
		} else if body, ok := bytes.CutPrefix(line, []byte("data: ")); ok && l.hear != nil {
			l.hear(kind, body)
		} else if id, ok := bytes.CutPrefix(line, []byte("id: ")); ok {
			l.take(kind, string(id))
		}
	}
}

// skip reads to the end of a line.
func skip(r *bufio.Reader) error {
	for {
		_, err := r.ReadSlice('\n')
		if err != bufio.ErrBufferFull { //nolint:errorlint // it comes as it is
			return err
		}
	}
}

// take counts an event; the numbers of all events rise by one.
func (l *listener) take(kind, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if was, is := serial(l.last), serial(id); l.last != "" && is != was+1 {
		l.lost += max(1, is-was-1)
	}
	l.last = id
	l.count[kind]++
}

func serial(id string) int {
	n, _ := strconv.Atoi(id[bytes.LastIndexByte([]byte(id), '-')+1:])
	return n
}

// has tells whether the client has had so many events of a type.
func (l *listener) has(kind string, n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count[kind] >= n
}

// stall connects a client that never reads.
func (a *api) stall(ctx context.Context) (io.Closer, error) {
	at, err := url.Parse(a.url)
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", at.Host)
	if err != nil {
		return nil, err
	}
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		return conn, err
	}
	_, err = fmt.Fprintf(conn, "GET /v2/events HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\nAuthorization: Bearer %s\r\n\r\n", at.Host, a.secret)
	return conn, err
}
