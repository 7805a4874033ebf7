package multilang

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxMessage bounds one incoming message, in bytes. The largest that Storm
// sends is the handshake, which holds the whole configuration.
const maxMessage = 16 << 20

var (
	endLine        = []byte("end")
	errMessageSize = fmt.Errorf("message is larger than %d bytes", maxMessage)
)

// input splits what the worker writes into messages.
type input struct {
	r   *bufio.Reader
	buf []byte
}

func newInput(r io.Reader) *input {
	return &input{r: bufio.NewReaderSize(r, 64<<10)}
}

// next returns the next message without its end line. The bytes are valid
// until the call after. It returns io.EOF when the input closed between two
// messages.
func (in *input) next() ([]byte, error) {
	in.buf = in.buf[:0]
	for {
		start := len(in.buf)
		if err := in.line(); err != nil {
			if errors.Is(err, io.EOF) && len(bytes.TrimSpace(in.buf)) > 0 {
				return nil, io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if bytes.Equal(bytes.TrimSpace(in.buf[start:]), endLine) {
			return in.buf[:start], nil
		}
	}
}

// line appends one line, line feed included, to the buffer.
func (in *input) line() error {
	for {
		part, err := in.r.ReadSlice('\n')
		if len(in.buf)+len(part) > maxMessage {
			return errMessageSize
		}
		in.buf = append(in.buf, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}
