package marathon

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"howdah.dev/howdah/internal/tenant"
)

// routes is everything the API answers. Ids hold slashes, so "{id}" takes as much
// as it can; of two lines that match, the first one counts.
func routes() []route {
	const (
		get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
		read, work, all            = tenant.Viewer, tenant.Operator, tenant.Admin
	)
	return []route{
		{get, "/v2/apps", read, (*API).listApps},
		{post, "/v2/apps", work, (*API).createApp},
		{put, "/v2/apps", work, (*API).putApps},
		{patch, "/v2/apps", work, (*API).patchApps},
		{post, "/v2/apps/{id}/restart", work, (*API).restartApp},
		{get, "/v2/apps/{id}/tasks", read, (*API).appTasks},
		{del, "/v2/apps/{id}/tasks", work, (*API).killAppTasks},
		{del, "/v2/apps/{id}/tasks/{sub}", work, (*API).killAppTask},
		{get, "/v2/apps/{id}/versions", read, (*API).appVersions},
		{get, "/v2/apps/{id}/versions/{sub}", read, (*API).appVersion},
		{get, "/v2/apps/{id}", read, (*API).getApp},
		{put, "/v2/apps/{id}", work, (*API).putApp},
		{patch, "/v2/apps/{id}", work, (*API).patchApp},
		{del, "/v2/apps/{id}", work, (*API).deleteApp},

		{get, "/v2/groups/versions", read, (*API).groupVersions},
		{get, "/v2/groups/versions/{sub}", read, (*API).groupVersion},
		{get, "/v2/groups/{id}/versions", read, (*API).groupVersions},
		{get, "/v2/groups/{id}/versions/{sub}", read, (*API).groupVersion},
		{get, "/v2/groups/{id}/apps", read, (*API).groupApps},
		{get, "/v2/groups/{id}", read, (*API).getGroup},
		{post, "/v2/groups/{id}", work, (*API).createGroup},
		{put, "/v2/groups/{id}", work, (*API).putGroup},
		{patch, "/v2/groups/{id}", work, (*API).patchGroup},
		{del, "/v2/groups/{id}", work, (*API).deleteGroup},
		{get, "/v2/groups", read, (*API).getGroup},
		{post, "/v2/groups", work, (*API).createGroup},
		{put, "/v2/groups", work, (*API).putGroup},
		{del, "/v2/groups", all, (*API).deleteGroup},

		{get, "/v2/tasks", read, (*API).listTasks},
		{post, "/v2/tasks/delete", work, (*API).killTasks},
		{get, "/v2/queue", read, (*API).queue},
		{del, "/v2/queue/{id}/delay", work, (*API).resetDelay},
		{get, "/v2/deployments", read, (*API).listDeployments},
		{del, "/v2/deployments/{id}", work, (*API).cancelDeployment},
		{get, "/v2/info", read, (*API).info},
		{get, "/v2/leader", read, (*API).leader},
		{del, "/v2/leader", all, (*API).abdicate},
		{get, "/v2/plugins", read, (*API).plugins},
		{get, "/v2/pods", read, (*API).pods},
		{get, "/v2/events", read, (*API).streamEvents},
		{get, "/metrics", read, (*API).metricsJSON},
		{get, "/metrics/prometheus", read, (*API).metricsText},
		{get, "/config", read, (*API).config},
		{get, "/logging", read, (*API).logging},
		{get, "/ui", read, (*API).page},
		{get, "", read, (*API).root},
	}
}

// matches tells whether a path, without the slash at its end, is the route's,
// and what it names.
func (rt *route) matches(path string) (id, sub string, ok bool) {
	pattern := rt.path
	before, after, hasID := strings.Cut(pattern, "/{id}")
	if !hasID {
		base, hasSub := strings.CutSuffix(pattern, "/{sub}")
		if !hasSub {
			return "", "", path == pattern
		}
		sub, ok = strings.CutPrefix(path, base+"/")
		return "", sub, ok && sub != "" && !strings.Contains(sub, "/")
	}
	rest, ok := strings.CutPrefix(path, before+"/")
	if !ok {
		return "", "", false
	}
	if base, hasSub := strings.CutSuffix(after, "/{sub}"); hasSub {
		cut := strings.LastIndex(rest, base+"/")
		if cut <= 0 {
			return "", "", false
		}
		id, sub = rest[:cut], rest[cut+len(base)+1:]
		return "/" + id, sub, sub != "" && !strings.Contains(sub, "/")
	}
	id, ok = strings.CutSuffix(rest, after)
	return "/" + strings.TrimLeft(id, "/"), "", ok && strings.Trim(id, "/") != ""
}

// guard refuses what a foreign page may have made a browser send.
func (a *API) guard(r *http.Request) error {
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return &statusError{http.StatusForbidden, "The request comes from another site's page."}
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	own, _, _ := net.SplitHostPort(a.Address)
	if ip, err := netip.ParseAddr(host); host != own && host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return &statusError{http.StatusForbidden, "Use the scheduler's own address, http://" + a.Address + "."}
	}
	return nil
}
