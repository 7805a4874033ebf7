package marathon

import (
	"net/http"
	"slices"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/scheduler"
)

// earlier returns the version of an app that an update asks to go back to, nil if
// it asks for something else.
func (a *API) earlier(c *call, u *app.Update) (*app.App, error) {
	version, ok := u.Rollback()
	if !ok {
		return nil, nil //nolint:nilnil // none is asked for
	}
	back, err := a.engine.Version(c.Context(), u.ID, version.String())
	if err != nil {
		return nil, err
	}
	if back == nil {
		return nil, unknownAppVersion(c, u.ID, version)
	}
	return back, nil
}

// unknownVersion answers for a version of what a path names that is not kept.
func unknownVersion(c *call, what, path string, version app.Timestamp) error {
	f := app.Finding{Message: "there was no such version, or it is not kept any more", Remedy: "Choose one of GET " + path + "/versions."}
	if c.Method != http.MethodGet {
		f.Pointer = "/version"
	}
	return &app.Error{Status: http.StatusNotFound, Message: what + " does not exist in version " + version.String(), Findings: []app.Finding{f}}
}

func unknownAppVersion(c *call, id string, version app.Timestamp) error {
	return unknownVersion(c, "App '"+id+"'", "/v2/apps"+id, version)
}

// comeBack goes back to an earlier version of an app, which may have been removed
// since.
func comeBack(wanted scheduler.Wanted, to *app.App) (scheduler.Change, error) {
	if wanted.App(to.ID) == nil {
		if err := clash(wanted, to.ID); err != nil {
			return scheduler.Change{}, err
		}
	}
	return returning(wanted, &scheduler.Change{}, to), nil
}

// returning goes back to an earlier version of an app as part of a change. Service
// ports that others were given meanwhile stay theirs: the app gets others, in a
// version of its own.
func returning(wanted scheduler.Wanted, change *scheduler.Change, to *app.App) scheduler.Change {
	now := wanted.App(to.ID)
	taken := func(port int) bool {
		return othersHave(wanted, change, to, port) || now == nil && !to.RequirePorts && held(wanted, change, port, func(*app.App) bool { return true })
	}
	if slices.ContainsFunc(servicePorts(to), taken) {
		return scheduler.Change{Put: []*app.App{to.WithoutServicePorts(taken)}}
	}
	return goBack(to, now)
}

// goBack makes an earlier version wanted. What still runs of it is as wanted, and
// so is what runs now if only the number of instances differs.
func goBack(back, now *app.App) scheduler.Change {
	change := scheduler.Change{Put: []*app.App{back}}
	if now == nil || !app.SameConfig(now, back) {
		change.Back = []string{back.ID}
	}
	return change
}

type versionsBody struct {
	Versions []string `json:"versions"`
}

func (a *API) appVersions(_ http.ResponseWriter, c *call) (any, error) {
	if err := a.exists(c); err != nil {
		return nil, err
	}
	versions, err := a.engine.Versions(c.Context(), c.id)
	return versionsBody{versions}, err
}

func (a *API) appVersion(_ http.ResponseWriter, c *call) (any, error) {
	if err := a.exists(c); err != nil {
		return nil, err
	}
	version, err := app.ParseTimestamp(c.sub)
	if err != nil {
		return nil, &statusError{http.StatusUnprocessableEntity, err.Error()}
	}
	spec, err := a.engine.Version(c.Context(), c.id, version.String())
	if err != nil {
		return nil, err
	}
	if spec == nil {
		return nil, unknownAppVersion(c, c.id, version)
	}
	return spec, nil
}
