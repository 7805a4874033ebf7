package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
)

// journal is a file of what has been counted: a line of package, tab, number
// each. It survives the death of the process, not of the machine: records are
// handed to the kernel before the tuples are acknowledged, and not synced.
type journal struct {
	mu  sync.Mutex
	f   *os.File
	buf []byte
}

// openJournal adds what the file holds to counts, cuts off a record that was
// half written, and returns the number of records.
func openJournal(path string, counts tally) (*journal, int, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, 0, fmt.Errorf("cannot open journal: %w", err)
	}
	good, records, err := replay(f, counts)
	if err == nil {
		err = f.Truncate(good)
	}
	if err == nil {
		_, err = f.Seek(good, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("cannot read journal %s: %w", path, err)
	}
	return &journal{f: f}, records, nil
}

// replay returns how many bytes are whole records, and their number.
func replay(r io.Reader, counts tally) (good int64, records int, err error) {
	br := bufio.NewReaderSize(r, 4*maxPackage)
	for {
		line, err := br.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return good, records, nil
		}
		if err != nil {
			return good, records, err
		}
		pkg, seq, err := parseLine(string(bytes.TrimSuffix(line, []byte("\n"))))
		if err != nil {
			return good, records, err
		}
		counts.add(pkg, seq)
		good += int64(len(line))
		records++
	}
}

// add queues one record.
func (j *journal) add(pkg string, seq uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.buf = append(append(j.buf, pkg...), '\t')
	j.buf = append(strconv.AppendUint(j.buf, seq, 10), '\n')
}

// flush hands the queued records to the kernel.
func (j *journal) flush() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.buf) == 0 {
		return nil
	}
	if _, err := j.f.Write(j.buf); err != nil {
		return fmt.Errorf("cannot write journal: %w", err)
	}
	j.buf = j.buf[:0]
	return nil
}
