package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
)

const (
	prefix     = "/webhdfs/v1"
	maxToken   = 4 << 10
	maxSources = 1000
)

// call is one request, read and checked for form.
type call struct {
	name   string // of the operation
	op     operation
	path   hdfsPath
	others []hdfsPath // further paths: destination, sources
	params url.Values // to be passed on
	token  string
	user   string // HDFS user
	// asked: the caller wants to be told where to send the body, or to fetch
	// from, rather than have it done.
	asked      bool
	noRedirect bool // told in a body rather than by a redirect
	moved      atomic.Int64
}

// tokenOf returns the token of a request: of its headers first, so that a
// program may add one to a URL that holds another.
func tokenOf(r *http.Request) string {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return short(strings.TrimSpace(token))
	}
	if token := r.Header.Get("X-Howdah-Token"); token != "" {
		return short(token)
	}
	q, _ := url.ParseQuery(r.URL.RawQuery) // an error is found by parse
	for _, key := range []string{"token", "delegation"} {
		if token := q.Get(key); token != "" {
			return short(token)
		}
	}
	return ""
}

func short(token string) string {
	if len(token) > maxToken {
		return ""
	}
	return token
}

// parse reads a request.
func parse(r *http.Request) (*call, error) {
	rest, ok := strings.CutPrefix(r.URL.Path, prefix)
	if !ok || rest != "" && rest[0] != '/' {
		return nil, notFound("there is nothing at this address; WebHDFS is at %s", prefix)
	}
	params, err := parameters(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	c := &call{name: strings.ToUpper(params["op"]), params: url.Values{}}
	if c.op, err = find(c.name, r.Method); err != nil {
		return nil, err
	}
	if c.op.need == nothing || rest == "" {
		rest = "/" // no path is looked at, so none is passed on
	}
	if c.path, err = parsePath(rest); err != nil {
		return nil, err
	}
	if err := c.furtherPaths(params); err != nil {
		return nil, err
	}
	for _, name := range c.op.params {
		if value, ok := params[name]; ok {
			c.params.Set(name, value)
		}
	}
	c.noRedirect = strings.EqualFold(params["noredirect"], "true")
	c.asked = c.op.kind == upload && !strings.EqualFold(params["data"], "true") && r.ContentLength == 0 ||
		c.op.kind == fetch && c.noRedirect
	return c, nil
}

// parameters reads a query strictly. Hadoop folds the case of names and takes
// the first of several values; here each may be given once.
func parameters(query string) (map[string]string, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, invalid("the query cannot be read: encode %%, ; and & in values")
	}
	params := map[string]string{}
	for name, given := range values {
		name = strings.ToLower(name)
		if _, twice := params[name]; twice || len(given) > 1 {
			return nil, invalid("the parameter %.40q is given more than once", name)
		}
		params[name] = given[0]
	}
	return params, nil
}

// furtherPaths reads the parameters that hold paths.
func (c *call) furtherPaths(params map[string]string) error {
	var texts []string
	switch c.name {
	case "RENAME":
		texts = []string{params["destination"]}
	case "CONCAT":
		texts = strings.Split(params["sources"], ",")
	case "LISTSTATUS_BATCH":
		// A name in the folder, where the listing goes on.
		if strings.Contains(params["startafter"], "/") {
			return invalid("startAfter is a name, without slashes")
		}
	}
	if len(texts) > maxSources {
		return invalid("at most %d sources are allowed", maxSources)
	}
	for _, text := range texts {
		p, err := parsePath(text)
		if err != nil {
			return err
		}
		c.others = append(c.others, p)
	}
	return nil
}

// query returns what is sent to the NameNode: the operation, the user, and
// nothing of the caller's that is not on the list.
func (c *call) query() url.Values {
	q := url.Values{"op": {c.name}, "user.name": {c.user}}
	for name, value := range c.params {
		q[name] = slices.Clone(value)
	}
	var paths []string
	for _, p := range c.others {
		paths = append(paths, p.String())
	}
	switch c.name {
	case "RENAME":
		q.Set("destination", paths[0])
	case "CONCAT":
		q.Set("sources", strings.Join(paths, ","))
	}
	return q
}
