package yarn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Log is one log file of one container. Read it with Client.OpenLog.
type Log struct {
	Container string
	Node      string // host:port of the NodeManager
	File      string // stdout, stderr, syslog, ...
	Size      int64  // bytes when it was listed
	Modified  time.Time

	server string // its containerlogs address, without the file
}

// LogsOf lists the logs of an application: of one that runs from its
// NodeManagers, of one that ended from the history server, which has them only
// with log aggregation on and some seconds later. NodeManagers that do not
// answer are left out and make the error, beside which the others' logs are
// returned. The error may be ErrNotFound.
func (c *Client) LogsOf(ctx context.Context, id string) ([]Log, error) {
	logs, err := c.logsOf(ctx, id)
	if err != nil {
		return logs, fmt.Errorf("cannot list logs of job %s: %w", id, err)
	}
	return logs, nil
}

func (c *Client) logsOf(ctx context.Context, id string) ([]Log, error) {
	app, err := appID(id)
	if err != nil {
		return nil, err
	}
	j, err := c.app(ctx, app)
	if err == nil && !j.State.Final() {
		return c.runningLogs(ctx, app)
	}
	if c.cfg.History == "" {
		return nil, errors.Join(err, errNoHistory)
	}
	return c.aggregatedLogs(ctx, app)
}

// OpenLog reads a log file: its last tail bytes, or all if tail is not
// positive. The server puts a few lines of heading before the contents
// ("Container: ...", "LogContents:") and one after. The caller closes.
func (c *Client) OpenLog(ctx context.Context, l Log, tail int64) (io.ReadCloser, error) {
	target := address(l.server, url.PathEscape(l.File))
	if tail > 0 {
		target += "?size=-" + strconv.FormatInt(tail, 10) // negative: from the end
	}
	resp, err := c.open(ctx, http.MethodGet, target, nil, "text/plain")
	if err != nil {
		return nil, fmt.Errorf("cannot open log %s of %s: %w", l.File, l.Container, err)
	}
	return resp.Body, nil
}

// jsonLogs lists the files of one container.
type jsonLogs struct {
	ContainerID      string `json:"containerId"`
	NodeID           string `json:"nodeId"`
	ContainerLogInfo oneOrMore[jsonLog]
}

type jsonLog struct {
	FileName         string
	FileSize         looseInt
	LastModifiedTime string
}

// logs converts a listing; server is where containerlogs are served.
func (l jsonLogs) logs(server string) []Log {
	var logs []Log
	for _, f := range l.ContainerLogInfo {
		modified, _ := time.Parse("Mon Jan 02 15:04:05 -0700 2006", f.LastModifiedTime)
		logs = append(logs, Log{
			Container: l.ContainerID,
			Node:      strings.Replace(l.NodeID, "_", ":", 1), // the history writes host_port
			File:      f.FileName,
			Size:      int64(f.FileSize),
			Modified:  modified,
			server:    address(server, "containerlogs", url.PathEscape(l.ContainerID)),
		})
	}
	return logs
}

func (c *Client) aggregatedLogs(ctx context.Context, app string) ([]Log, error) {
	server := address(c.cfg.History, "ws/v1/history")
	var a struct {
		ContainerLogsInfoes struct {
			ContainerLogsInfo oneOrMore[jsonLogs]
		}
	}
	if err := c.get(ctx, server+"/aggregatedlogs?appid="+app, &a); err != nil {
		return nil, err
	}
	var logs []Log
	for _, l := range a.ContainerLogsInfoes.ContainerLogsInfo {
		logs = append(logs, l.logs(server)...)
	}
	return logs, nil
}

// runningLogs asks every NodeManager which of the application's containers it
// has. Only the ApplicationMaster knows otherwise, and only for MapReduce.
func (c *Client) runningLogs(ctx context.Context, app string) ([]Log, error) {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	var (
		logs []Log
		errs []error
	)
	for _, n := range nodes {
		if n.HTTP == "" {
			continue // lost
		}
		found, err := c.nodeLogs(ctx, address("http://"+n.HTTP, "ws/v1/node"), app)
		if err != nil {
			errs = append(errs, fmt.Errorf("node %s: %w", n.ID, err))
		}
		logs = append(logs, found...)
	}
	return logs, errors.Join(errs...)
}

func (c *Client) nodeLogs(ctx context.Context, server, app string) ([]Log, error) {
	var a struct {
		App struct {
			ContainerIDs oneOrMore[string] `json:"containerids"`
		}
	}
	err := c.get(ctx, address(server, "apps", app), &a)
	if errors.Is(err, ErrNotFound) {
		return nil, nil // nothing of it runs there
	}
	if err != nil {
		return nil, err
	}
	var logs []Log
	for _, container := range a.App.ContainerIDs {
		var l struct{ ContainerLogsInfo oneOrMore[jsonLogs] }
		err := c.get(ctx, address(server, "containers", url.PathEscape(container), "logs"), &l)
		if _, ok := errors.AsType[*RemoteError](err); ok {
			continue // ended since
		}
		if err != nil {
			return logs, err
		}
		for _, info := range l.ContainerLogsInfo {
			logs = append(logs, info.logs(server)...)
		}
	}
	return logs, nil
}
