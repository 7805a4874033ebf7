package marathon

import (
	"net/http"
	"strings"

	"howdah.dev/howdah/internal/cell/serviceapi"
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
		{method: get, path: "/v2/apps", role: read, do: (*API).listApps},
		{method: post, path: "/v2/apps", role: work, do: (*API).createApp},
		{method: put, path: "/v2/apps", role: work, do: (*API).putApps},
		{method: patch, path: "/v2/apps", role: work, do: (*API).patchApps},
		{method: post, path: "/v2/apps/{id}/restart", role: work, do: (*API).restartApp},
		{method: get, path: "/v2/apps/{id}/tasks", role: read, do: (*API).appTasks},
		{method: del, path: "/v2/apps/{id}/tasks", role: work, do: (*API).killAppTasks},
		{method: del, path: "/v2/apps/{id}/tasks/{sub}", role: work, do: (*API).killAppTask},
		{method: get, path: "/v2/apps/{id}/versions", role: read, do: (*API).appVersions},
		{method: get, path: "/v2/apps/{id}/versions/{sub}", role: read, do: (*API).appVersion},
		{method: get, path: "/v2/apps/{id}", role: read, do: (*API).getApp},
		{method: put, path: "/v2/apps/{id}", role: work, do: (*API).putApp},
		{method: patch, path: "/v2/apps/{id}", role: work, do: (*API).patchApp},
		{method: del, path: "/v2/apps/{id}", role: work, do: (*API).deleteApp},

		{method: get, path: "/v2/groups/versions", role: read, do: (*API).groupVersions},
		{method: get, path: "/v2/groups/versions/{sub}", role: read, do: (*API).groupVersion},
		{method: get, path: "/v2/groups/{id}/versions", role: read, do: (*API).groupVersions},
		{method: get, path: "/v2/groups/{id}/versions/{sub}", role: read, do: (*API).groupVersion},
		{method: get, path: "/v2/groups/{id}/apps", role: read, do: (*API).groupApps},
		{method: get, path: "/v2/groups/{id}", role: read, do: (*API).getGroup},
		{method: post, path: "/v2/groups/{id}", role: work, do: (*API).createGroup},
		{method: put, path: "/v2/groups/{id}", role: work, do: (*API).putGroup},
		{method: patch, path: "/v2/groups/{id}", role: work, do: (*API).patchGroup},
		{method: del, path: "/v2/groups/{id}", role: work, do: (*API).deleteGroup},
		{method: get, path: "/v2/groups", role: read, do: (*API).getGroup},
		{method: post, path: "/v2/groups", role: work, do: (*API).createGroup},
		{method: put, path: "/v2/groups", role: work, do: (*API).putGroup},
		{method: del, path: "/v2/groups", role: all, do: (*API).deleteGroup},

		{method: get, path: "/v2/tasks", role: read, do: (*API).listTasks},
		{method: post, path: "/v2/tasks/delete", role: work, do: (*API).killTasks},
		{method: get, path: "/v2/queue", role: read, do: (*API).queue},
		{method: del, path: "/v2/queue/{id}/delay", role: work, do: (*API).resetDelay},
		{method: get, path: "/v2/deployments", role: read, do: (*API).listDeployments},
		{method: del, path: "/v2/deployments/{id}", role: work, do: (*API).cancelDeployment},
		{method: get, path: "/v2/info", role: read, do: (*API).info},
		{method: get, path: "/v2/leader", role: read, do: (*API).leader},
		{method: del, path: "/v2/leader", role: all, do: (*API).abdicate, cell: true},
		{method: get, path: "/v2/plugins", role: read, do: (*API).plugins},
		{method: get, path: "/v2/pods", role: read, do: (*API).pods},
		{method: get, path: "/v2/events", role: read, do: (*API).streamEvents, stream: true},
		{method: get, path: "/metrics", role: read, do: (*API).metricsJSON},
		{method: get, path: "/metrics/prometheus", role: read, do: (*API).metricsText},
		{method: get, path: "/config", role: read, do: (*API).config},
		{method: get, path: "/logging", role: read, do: (*API).logging},
		{method: get, path: "/ping", role: read}, // answered before: it asks for no name
		{method: get, path: serviceapi.Path, role: read, do: (*API).services, stream: true},
		{method: get, path: "/howdah/v1/targets", role: read, do: (*API).targets},
		{method: get, path: "/howdah/v1/workers/{id}/drain", role: read, do: (*API).getDrain},
		{method: put, path: "/howdah/v1/workers/{id}/drain", role: all, do: (*API).startDrain, cell: true},
		{method: del, path: "/howdah/v1/workers/{id}/drain", role: all, do: (*API).endDrain, cell: true},
		{method: get, path: "/ui", role: read, do: (*API).page},
		{method: get, path: "", role: read, do: (*API).root},
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
