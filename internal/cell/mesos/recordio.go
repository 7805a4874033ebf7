package mesos

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
)

// maxLengthDigits bounds the decimal length before a record.
const maxLengthDigits = 20

// WriteRecord writes v as one RecordIO record of JSON: its length in decimal, a
// line feed, its bytes; in one Write.
func WriteRecord(w io.Writer, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot encode record: %w", err)
	}
	record := strconv.AppendInt(make([]byte, 0, len(body)+maxLengthDigits), int64(len(body)), 10)
	record = append(append(record, '\n'), body...)
	if _, err := w.Write(record); err != nil {
		return fmt.Errorf("cannot write record: %w", err)
	}
	return nil
}

// RecordReader reads RecordIO.
type RecordReader struct {
	r   *bufio.Reader
	max int
}

// NewRecordReader reads records of at most limit bytes from r.
func NewRecordReader(r io.Reader, limit int) *RecordReader {
	return &RecordReader{r: bufio.NewReaderSize(r, 64<<10), max: limit}
}

// Next returns the next record. It returns io.EOF at an end between records and
// io.ErrUnexpectedEOF inside one.
func (rr *RecordReader) Next() ([]byte, error) {
	n, err := rr.length()
	if err != nil {
		return nil, err
	}
	record := make([]byte, n)
	if _, err := io.ReadFull(rr.r, record); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return record, nil
}

func (rr *RecordReader) length() (int, error) {
	var n int
	for digits := 0; ; digits++ {
		c, err := rr.r.ReadByte()
		switch {
		case err == io.EOF && digits > 0:
			return 0, io.ErrUnexpectedEOF
		case err != nil:
			return 0, err
		case c == '\n' && digits > 0:
			return n, nil
		case c < '0' || c > '9' || digits >= maxLengthDigits:
			return 0, fmt.Errorf("cannot read record: %q in its length", c)
		}
		if n = n*10 + int(c-'0'); n > rr.max {
			return 0, fmt.Errorf("cannot read record: it is longer than %d bytes", rr.max)
		}
	}
}
