// Package api holds Howdah's public types: what users write (definitions),
// what they read (plans, operations, status, events) and the findings
// (diagnostics) that travel between them. It imports nothing of Howdah.
package api
