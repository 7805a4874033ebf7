// Package serviceapi owns what the scheduler tells proxies: which apps have which
// service ports, and where their instances are reached. Values only.
package serviceapi

import "time"

// Path is where the scheduler answers with a Table. With the parameter after, a
// revision, it answers when the table has become another one, or after MaxWait.
const Path = "/howdah/v1/services"

// MaxWait is how long an answer that brings nothing new is held back.
const MaxWait = 25 * time.Second

// Table is all services at one moment.
type Table struct {
	// Revision names the content: equal tables have equal revisions, those of
	// different lives of the scheduler too.
	Revision string    `json:"revision"`
	Services []Service `json:"services"`
}

// Service is one service port of an app.
type Service struct {
	Port     int               `json:"port"`
	App      string            `json:"app"`
	Protocol string            `json:"protocol"` // tcp or udp
	Name     string            `json:"name,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"` // HAPROXY_* of the app, VIP_* of the port
	Backends []Backend         `json:"backends"`
}

// Backend is an instance that is not on its way to its end.
type Backend struct {
	Host string `json:"host"`
	Port int    `json:"port"`
	Task string `json:"task"`
	// Healthy: it may be sent connections. Its health checks say so; without any, it
	// runs and is ready.
	Healthy bool `json:"healthy"`
}
