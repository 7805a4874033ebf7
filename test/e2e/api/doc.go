// Package api tests the REST API of a real server against its own OpenAPI document.
package api
