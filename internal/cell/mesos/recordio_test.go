package mesos

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestRecordReader(t *testing.T) {
	for _, c := range []struct {
		text  string
		want  []string
		ended string
	}{
		{"", nil, "EOF"},
		{"2\n{}0\n1\n7", []string{"{}", "", "7"}, "EOF"},
		{"002\n{}", []string{"{}"}, "EOF"},
		{"2\n{", nil, "unexpected EOF"},
		{"2\n", nil, "unexpected EOF"},
		{"2", nil, "unexpected EOF"},
		{"\n", nil, `cannot read record: '\n' in its length`},
		{"-1\n", nil, `cannot read record: '-' in its length`},
		{"17\n", nil, "cannot read record: it is longer than 16 bytes"},
		{"99999999999999999999999\n", nil, "cannot read record: it is longer than 16 bytes"},
		{strings.Repeat("0", 30), nil, `cannot read record: '0' in its length`},
	} {
		reader := NewRecordReader(iotestOneByte{strings.NewReader(c.text)}, 16)
		var got []string
		var err error
		for {
			var record []byte
			if record, err = reader.Next(); err != nil {
				break
			}
			got = append(got, string(record))
		}
		if strings.Join(got, "|") != strings.Join(c.want, "|") || err.Error() != c.ended {
			t.Errorf("%q: %q then %v, want %q then %s", c.text, got, err, c.want, c.ended)
		}
	}
}

// iotestOneByte gives one byte at a time, as a slow network may.
type iotestOneByte struct{ r io.Reader }

func (o iotestOneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

func FuzzRecordIO(f *testing.F) {
	f.Add([]byte("2\n{}"))
	f.Add([]byte("00000000000000000000\n"))
	f.Add([]byte("5\nab"))
	f.Fuzz(func(t *testing.T, data []byte) {
		reader := NewRecordReader(bytes.NewReader(data), 1<<10)
		var out bytes.Buffer
		for {
			record, err := reader.Next()
			if err != nil {
				break
			}
			if len(record) > 1<<10 {
				t.Fatalf("a record of %d bytes", len(record))
			}
			if err := WriteRecord(&out, record); err != nil {
				t.Fatal(err)
			}
		}
		again := NewRecordReader(&out, 1<<20)
		for {
			record, err := again.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil || !json.Valid(record) {
				t.Fatalf("what was written is not read: %v, %q", err, record)
			}
		}
	})
}
