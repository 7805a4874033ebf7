package app

import "embed"

// Schemas holds JSON Schemas (draft 2020-12) of what Howdah answers in Marathon's
// words: app.json, group.json and error.json; answers.json and events.json have a
// definition for each other answer and event. They are written by hand from
// Marathon's reference, so that tests compare the code with something else.
//
//go:embed schema/*.json
var Schemas embed.FS
