package app

import "math"

func readHealthCheck(c cursor) HealthCheck {
	o, _ := c.object(words{known: []string{
		"command", "gracePeriodSeconds", "ignoreHttp1xx", "intervalSeconds", "maxConsecutiveFailures", "path", "port",
		"portIndex", "protocol", "ipProtocol", "timeoutSeconds", "delaySeconds",
	}})
	return HealthCheck{
		Command:                field(o, "command", nil, readCommand),
		GracePeriodSeconds:     field(o, "gracePeriodSeconds", 300, seconds),
		IgnoreHTTP1xx:          optional(o, "ignoreHttp1xx", boolean),
		IntervalSeconds:        field(o, "intervalSeconds", 60, integer(1, math.MaxInt32)),
		MaxConsecutiveFailures: field(o, "maxConsecutiveFailures", 3, seconds),
		Path:                   field(o, "path", "", text(0, 1024)),
		Port:                   optional(o, "port", port),
		PortIndex:              optional(o, "portIndex", port),
		Protocol: field(o, "protocol", HealthHTTP, oneOf(HealthHTTP, HealthHTTPS, HealthTCP, HealthCommand,
			HealthMesosTCP, HealthMesosHTTP, HealthMesosHTTPS)),
		IPProtocol:     field(o, "ipProtocol", "IPv4", oneOf("IPv4", "IPv6")),
		TimeoutSeconds: field(o, "timeoutSeconds", 20, seconds),
		DelaySeconds:   field(o, "delaySeconds", 15, seconds),
	}
}

func readCommand(c cursor) *Command {
	o, ok := c.object(words{known: []string{"value"}})
	if ok {
		o.need("value", "a shell line")
	}
	return &Command{Value: field(o, "value", "", text(1, maxText))}
}

func readCheck(c cursor) *Check {
	o, _ := c.object(words{known: []string{"http", "tcp", "exec", "intervalSeconds", "timeoutSeconds", "delaySeconds"}})
	return &Check{
		HTTP:            field(o, "http", nil, readCheckHTTP),
		TCP:             field(o, "tcp", nil, readCheckTCP),
		Exec:            field(o, "exec", nil, readCheckExec),
		IntervalSeconds: field(o, "intervalSeconds", 60, integer(1, math.MaxInt32)),
		TimeoutSeconds:  field(o, "timeoutSeconds", 20, seconds),
		DelaySeconds:    field(o, "delaySeconds", 15, seconds),
	}
}

func readCheckHTTP(c cursor) *CheckHTTP {
	o, _ := c.object(words{known: []string{"portIndex", "port", "path", "scheme"}})
	return &CheckHTTP{
		PortIndex: optional(o, "portIndex", port), Port: optional(o, "port", port),
		Path: field(o, "path", "", text(1, 1024)), Scheme: field(o, "scheme", "HTTP", oneOf("HTTP", "HTTPS")),
	}
}

func readCheckTCP(c cursor) *CheckTCP {
	o, _ := c.object(words{known: []string{"portIndex", "port"}})
	return &CheckTCP{PortIndex: optional(o, "portIndex", port), Port: optional(o, "port", port)}
}

func readCheckExec(c cursor) *CheckExec {
	o, ok := c.object(words{known: []string{"command"}})
	if ok {
		o.need("command", `{"shell": LINE} or {"argv": [...]}`)
	}
	return &CheckExec{Command: field(o, "command", CheckCommand{}, func(c cursor) CheckCommand {
		o, _ := c.object(words{known: []string{"shell", "argv"}})
		cmd := CheckCommand{
			Shell: field(o, "shell", "", text(1, maxText)),
			Argv:  field(o, "argv", nil, list(anyText)),
		}
		if (cmd.Shell == "") == (len(cmd.Argv) == 0) {
			c.refuse("must have one of 'shell' or 'argv'", "Keep one of them.")
		}
		return cmd
	})}
}

func readReadinessCheck(c cursor) ReadinessCheck {
	o, _ := c.object(words{known: []string{
		"name", "protocol", "path", "portName", "intervalSeconds", "timeoutSeconds", "httpStatusCodesForReady", "preserveLastResponse",
	}})
	return ReadinessCheck{
		Name:                    field(o, "name", "readinessCheck", text(1, 255)),
		Protocol:                field(o, "protocol", "HTTP", oneOf("HTTP", "HTTPS")),
		Path:                    field(o, "path", "/", text(1, 1024)),
		PortName:                field(o, "portName", "http-api", readName),
		IntervalSeconds:         field(o, "intervalSeconds", 30, integer(1, math.MaxInt32)),
		TimeoutSeconds:          field(o, "timeoutSeconds", 10, integer(1, math.MaxInt32)),
		HTTPStatusCodesForReady: field(o, "httpStatusCodesForReady", nil, list(integer(100, 999))),
		PreserveLastResponse:    field(o, "preserveLastResponse", false, boolean),
	}
}
