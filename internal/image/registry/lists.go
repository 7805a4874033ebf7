package registry

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// maxPage bounds one page of a list.
const maxPage = 1000

// page cuts a sorted list the way the query asks (n, last) and names the next page
// in the Link header.
func page(w http.ResponseWriter, r *http.Request, all []string) ([]string, error) {
	q := r.URL.Query()
	n := maxPage
	if text := q.Get("n"); text != "" {
		v, err := strconv.Atoi(text)
		if err != nil || v < 0 {
			return nil, &failure{http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", "n is " + strconv.Quote(text) + "; give a number from 0"}
		}
		n = min(v, maxPage)
	}
	if last := q.Get("last"); last != "" {
		i, found := slices.BinarySearch(all, last)
		if found {
			i++
		}
		all = all[i:]
	}
	if len(all) <= n {
		return append([]string{}, all...), nil
	}
	all = all[:n]
	if n > 0 {
		next := url.Values{"n": {strconv.Itoa(n)}, "last": {all[n-1]}}
		w.Header().Set("Link", "<"+r.URL.Path+"?"+next.Encode()+`>; rel="next"`)
	}
	return append([]string{}, all...), nil
}

func (c *call) listTags() error {
	tags, err := c.repo.Tags()
	if err != nil {
		return err
	}
	names := make([]string, 0, len(tags))
	for _, t := range tags {
		names = append(names, t.Name)
	}
	slices.Sort(names)
	if names, err = page(c.w, c.r, names); err != nil {
		return err
	}
	return writeJSON(c.w, "application/json", map[string]any{"name": c.repo.Name(), "tags": names})
}

// catalog lists the repositories that the caller may pull from.
func (s *server) catalog(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet {
		return &failure{http.StatusMethodNotAllowed, codeUnsupported, "the method " + r.Method + " is not supported here"}
	}
	if err := s.cfg.Authorize(r, "", ActionLogin); err != nil {
		return denied(err)
	}
	all, err := s.cfg.Store.Repos()
	if err != nil {
		return err
	}
	visible := slices.DeleteFunc(all, func(name string) bool { return s.cfg.Authorize(r, name, ActionPull) != nil })
	names, err := page(w, r, visible)
	if err != nil {
		return err
	}
	return writeJSON(w, "application/json", map[string]any{"repositories": names})
}
