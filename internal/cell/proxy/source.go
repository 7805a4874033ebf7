package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"howdah.dev/howdah/internal/cell/serviceapi"
)

const (
	maxTable = 64 << 20 // bytes
	maxError = 1 << 10
)

// Scheduler asks the scheduler of a cell.
type Scheduler struct {
	URL    string
	Client *http.Client // its transport adds the credentials
}

// Next implements Source.
func (s Scheduler) Next(ctx context.Context, after string) (t serviceapi.Table, err error) {
	ctx, cancel := context.WithTimeout(ctx, serviceapi.MaxWait+10*time.Second)
	defer cancel()
	address := strings.TrimRight(s.URL, "/") + serviceapi.Path + "?after=" + url.QueryEscape(after)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return t, fmt.Errorf("cannot ask for the services: %w", err)
	}
	resp, err := s.Client.Do(req)
	if err != nil {
		return t, fmt.Errorf("cannot ask for the services: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxError))
		return t, fmt.Errorf("cannot ask for the services: %s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	body := &io.LimitedReader{R: resp.Body, N: maxTable + 1}
	if err := json.NewDecoder(body).Decode(&t); err != nil {
		if body.N <= 0 {
			err = errors.New("the answer is larger than 64 MiB")
		}
		return t, fmt.Errorf("cannot read the services: %w", err)
	}
	return t, nil
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }
