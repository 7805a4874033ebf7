package app

import "maps"

const (
	// ProjectLabel is the label that says whose an app is: the project of who made it,
	// as the API sets it. Without it an app is the default project's.
	ProjectLabel = "dev.howdah.project"
	// IDLabel is the label of a task that holds its app's id.
	IDLabel = "dev.howdah.app"
)

// WithLabel returns a copy of labels in which one has a value.
func WithLabel(labels map[string]string, key, value string) map[string]string {
	out := make(map[string]string, len(labels)+1)
	maps.Copy(out, labels)
	out[key] = value
	return out
}
