package marathon

import (
	"net/http"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/tenant"
)

// owns tells whether a caller's project holds an app or group: a project holds
// the top-level group of its name, the default project holds all.
func owns(who tenant.Token, id string) bool {
	return who.Project == tenant.DefaultProject || app.Within(id, "/"+who.Project)
}

func foreign(who tenant.Token, id string) error {
	return &statusError{http.StatusForbidden, "Not Authorized to perform this action! Your project " + who.Project + " holds /" + who.Project + ", not " + id + "."}
}
