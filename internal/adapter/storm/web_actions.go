package storm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"
)

// maxWebBody bounds the body of a request, in bytes.
const maxWebBody = 64 << 10

func (c *Client) webActivate(r *http.Request) (any, error) {
	sum, err := c.requested(r)
	if err != nil {
		return nil, err
	}
	return acted(sum, "activate", c.Activate(r.Context(), sum.Name))
}

func (c *Client) webDeactivate(r *http.Request) (any, error) {
	sum, err := c.requested(r)
	if err != nil {
		return nil, err
	}
	return acted(sum, "deactivate", c.Deactivate(r.Context(), sum.Name))
}

func (c *Client) webKill(r *http.Request) (any, error) {
	wait, err := waitOf(r)
	if err != nil {
		return nil, err
	}
	sum, err := c.requested(r)
	if err != nil {
		return nil, err
	}
	return acted(sum, "kill", c.Kill(r.Context(), sum.Name, wait))
}

// webRebalance spreads a topology anew. Unlike the UI's server it heeds the
// body, as Storm's documents promise.
func (c *Client) webRebalance(r *http.Request) (any, error) {
	wait, err := waitOf(r)
	if err != nil {
		return nil, err
	}
	o, err := rebalanceOf(r.Body)
	if err != nil {
		return nil, err
	}
	o.Wait = wait
	sum, err := c.requested(r)
	if err != nil {
		return nil, err
	}
	return acted(sum, "rebalance", c.Rebalance(r.Context(), sum.Name, o))
}

func acted(sum TopologySummary, operation string, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return map[string]string{"topologyId": sum.ID, "topologyOperation": operation, "status": "success"}, nil
}

// waitOf reads how long spouts are stopped first.
func waitOf(r *http.Request) (time.Duration, error) {
	text := r.PathValue("wait")
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 {
		return 0, badRequest(fmt.Sprintf("the wait before it begins is a whole number of seconds, not %q", text))
	}
	return time.Duration(n) * time.Second, nil
}

// rebalanceOf reads what is asked of a topology's size. Counts may be numbers
// or text, as in the examples of Storm's documents.
func rebalanceOf(body io.Reader) (Options, error) {
	data, err := io.ReadAll(io.LimitReader(body, maxWebBody+1))
	if err != nil {
		return Options{}, badRequest("cannot read the body: " + err.Error())
	}
	if len(data) > maxWebBody {
		return Options{}, badRequest(fmt.Sprintf("the body is larger than %d KiB", maxWebBody>>10))
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return Options{}, nil
	}
	var in struct {
		Options struct {
			Workers   *count           `json:"numWorkers"`
			Executors map[string]count `json:"executors"`
		} `json:"rebalanceOptions"`
		Callback json.RawMessage `json:"callback"` // the documents' examples carry one; answers are plain JSON
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return Options{}, badRequest("cannot read the body: " + err.Error())
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Options{}, badRequest("cannot read the body: there is more after its end")
	}
	var o Options
	if in.Options.Workers != nil {
		o.Workers = int(*in.Options.Workers)
	}
	for id, n := range in.Options.Executors {
		if o.Executors == nil {
			o.Executors = map[string]int{}
		}
		o.Executors[id] = int(n)
	}
	return o, nil
}

// count is a number of workers or executors: one at least.
type count int

func (c *count) UnmarshalJSON(data []byte) error {
	text := string(data)
	var quoted string
	if json.Unmarshal(data, &quoted) == nil && text != "null" {
		text = quoted
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > math.MaxInt32 {
		return fmt.Errorf("a number of workers or executors is at least 1, not %s", data)
	}
	*c = count(n)
	return nil
}
