package app

const (
	// ProjectLabel is the label that says whose an app is: the project of who made it,
	// as the API sets it. Without it an app is the default project's.
	ProjectLabel = "dev.howdah.project"
	// IDLabel is the label of a task that holds its app's id.
	IDLabel = "dev.howdah.app"
)
