package instance

import (
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// NewID returns a new instance id of an app in Marathon's format:
// "group_app.instance-" and a UUID.
func NewID(app string) string {
	return Safe(app) + ".instance-" + uuid.NewString()
}

// Safe writes an app's path id as task ids have it: /a/b is a_b.
func Safe(app string) string {
	return strings.ReplaceAll(strings.TrimPrefix(app, "/"), "/", "_")
}

// AppOf returns the app that an instance id names, "" where it names none.
func AppOf(id string) string {
	name, _, ok := strings.Cut(id, ".instance-")
	if !ok {
		return ""
	}
	return "/" + strings.ReplaceAll(name, "_", "/")
}

// OfTask returns the instance's id and the incarnation that a task id names.
func OfTask(task string) (id string, incarnation int, ok bool) {
	id, n, ok := strings.Cut(task, "._app.")
	if !ok || !strings.Contains(id, ".instance-") {
		return "", 0, false
	}
	incarnation, err := strconv.Atoi(n)
	return id, incarnation, err == nil
}
