package launch

import (
	"math"
	"strings"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/mesos"
)

// Types of checks that workers run.
const (
	typeCommand = "COMMAND"
	typeHTTP    = "HTTP"
	typeTCP     = "TCP"
)

// never is more failures in a row than there will be. In Mesos an absent number
// means 3, with Marathon 0 means that no failure kills.
const never = math.MaxInt32

// seconds writes a time of a check. In Mesos 0 is not written, and what is absent
// has a default of many seconds.
func seconds(n int) float64 {
	const atOnce = 0.001
	if n == 0 {
		return atOnce
	}
	return float64(n)
}

// healthCheck is the one that the worker runs, nil if there is none: HTTP, HTTPS
// and TCP are the scheduler's own.
func (b *builder) healthCheck() *mesos.HealthCheck {
	for _, h := range b.a.HealthChecks {
		m := &mesos.HealthCheck{
			DelaySeconds: seconds(h.DelaySeconds), IntervalSeconds: seconds(h.IntervalSeconds), TimeoutSeconds: seconds(h.TimeoutSeconds),
			GracePeriodSeconds: seconds(h.GracePeriodSeconds), ConsecutiveFailures: h.MaxConsecutiveFailures,
		}
		if h.MaxConsecutiveFailures == 0 {
			m.ConsecutiveFailures = never
		}
		port := b.port(h.PortIndex, h.Port)
		switch h.Protocol {
		case app.HealthCommand:
			if h.Command == nil {
				continue
			}
			m.Type, m.Command = typeCommand, &mesos.CommandInfo{Shell: new(true), Value: h.Command.Value}
		case app.HealthMesosHTTP, app.HealthMesosHTTPS:
			scheme := strings.ToLower(strings.TrimPrefix(h.Protocol, "MESOS_"))
			m.Type, m.HTTP = typeHTTP, &mesos.HTTPCheck{Protocol: h.IPProtocol, Scheme: scheme, Port: port, Path: h.Path}
		case app.HealthMesosTCP:
			m.Type, m.TCP = typeTCP, &mesos.TCPCheck{Protocol: h.IPProtocol, Port: port}
		default:
			continue
		}
		return m
	}
	return nil
}

// check is the one whose result is only reported.
func (b *builder) check() *mesos.CheckInfo {
	c := b.a.Check
	if c == nil {
		return nil
	}
	m := &mesos.CheckInfo{DelaySeconds: seconds(c.DelaySeconds), IntervalSeconds: seconds(c.IntervalSeconds), TimeoutSeconds: seconds(c.TimeoutSeconds)}
	switch {
	case c.HTTP != nil:
		m.Type, m.HTTP = typeHTTP, &mesos.HTTPCheck{Scheme: strings.ToLower(c.HTTP.Scheme), Port: b.port(c.HTTP.PortIndex, c.HTTP.Port), Path: c.HTTP.Path}
	case c.TCP != nil:
		m.Type, m.TCP = typeTCP, &mesos.TCPCheck{Port: b.port(c.TCP.PortIndex, c.TCP.Port)}
	case c.Exec != nil:
		m.Type = typeCommand
		m.Command = &struct {
			Command mesos.CommandInfo `json:"command"`
		}{checkCommand(c.Exec.Command)}
	default:
		return nil
	}
	return m
}

func checkCommand(c app.CheckCommand) mesos.CommandInfo {
	if len(c.Argv) > 0 {
		return mesos.CommandInfo{Shell: new(false), Value: c.Argv[0], Arguments: c.Argv}
	}
	return mesos.CommandInfo{Shell: new(true), Value: c.Shell}
}

// port is the port to ask as the task itself sees it: workers check inside the
// task's network.
func (b *builder) port(index, number *int) int {
	switch {
	case number != nil:
		return *number
	case index != nil && *index >= 0 && *index < len(b.inside):
		return b.inside[*index]
	default:
		return 0
	}
}
