package webhdfs

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
)

// CreateOptions says how a file is made. Zero values leave it to the server,
// save that an existing file is not overwritten.
type CreateOptions struct {
	Overwrite   bool
	Permission  fs.FileMode
	Replication int
	BlockSize   int64 // bytes
}

func (o CreateOptions) params() map[string]string {
	p := map[string]string{"overwrite": strconv.FormatBool(o.Overwrite)}
	if o.Permission != 0 {
		p["permission"] = octalOf(o.Permission)
	}
	if o.Replication != 0 {
		p["replication"] = strconv.Itoa(o.Replication)
	}
	if o.BlockSize != 0 {
		p["blocksize"] = strconv.FormatInt(o.BlockSize, 10)
	}
	return p
}

// Create makes a file, and its folders, of what r yields. After an error a
// part of it may be there: write under another name and [Client.Rename].
func (c *Client) Create(ctx context.Context, name string, r io.Reader, o CreateOptions) error {
	return cannot("create", name, c.upload(ctx, request{method: "PUT", op: "CREATE", path: name, params: o.params()}, r))
}

// Append adds what r yields to a file. One writer at a time is allowed.
func (c *Client) Append(ctx context.Context, name string, r io.Reader) error {
	return cannot("append to", name, c.upload(ctx, request{method: "POST", op: "APPEND", path: name}, r))
}

// upload sends the body to the DataNode the NameNode names: the first request
// carries none.
func (c *Client) upload(ctx context.Context, r request, body io.Reader) error {
	target, err := c.dataNode(ctx, r)
	if err != nil {
		return err
	}
	source := &source{r: body}
	resp, err := c.send(ctx, r.method, target, source)
	if source.err != nil {
		err = fmt.Errorf("cannot read what is to be written: %w", source.err)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxError))
	return err
}

// source tells a failure to read from a failure to send, and keeps the HTTP
// client from closing what belongs to the caller.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// Open reads length bytes of a file from offset, or to the end if length is
// negative. An offset at or past the end of a file that is not empty is
// ErrRange. The context bounds the whole transfer; the caller closes.
func (c *Client) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if length == 0 {
		return http.NoBody, nil
	}
	params := map[string]string{}
	if offset > 0 {
		params["offset"] = strconv.FormatInt(offset, 10)
	}
	if length > 0 {
		params["length"] = strconv.FormatInt(length, 10)
	}
	r := request{method: "GET", op: "OPEN", path: name, params: params}
	body, err := c.download(ctx, r)
	return body, cannot("open", name, err)
}

func (c *Client) download(ctx context.Context, r request) (io.ReadCloser, error) {
	resp, err := c.ask(ctx, r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusTemporaryRedirect {
		return resp.Body, nil // HttpFS sends the contents itself
	}
	resp.Body.Close()
	target, err := resp.Location()
	if err != nil {
		return nil, fmt.Errorf("no DataNode was named: %w", err)
	}
	if resp, err = c.send(ctx, r.method, target.String(), nil); err != nil {
		return nil, err
	}
	return resp.Body, nil
}
