package master

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/workerapi"
)

// workerSubscribe registers a worker and answers with its orders.
func (m *Master) workerSubscribe(w http.ResponseWriter, r *http.Request) error {
	var reg workerapi.Register
	if err := decode(w, r, maxRegister, "Register", &reg); err != nil {
		return err
	}
	if reg.Info.ID != nil && reg.Info.ID.Value == "" {
		reg.Info.ID = nil
	}
	if err := validateRegister(&reg); err != nil {
		return refuse(http.StatusBadRequest, "Failed to register the worker: %v", err)
	}
	address := reg.Address
	if address == "" {
		address = net.JoinHostPort(reg.Info.Hostname, strconv.Itoa(reg.Info.Port))
	}
	var out *outbox
	var registered *worker
	var refused error
	err := m.do(r.Context(), func(c *core) { out, registered, refused = c.register(&reg, address) })
	if err == nil && refused != nil {
		return refused
	}
	if err == nil {
		m.stream(w, r, out)
	}
	ended := m.do(context.WithoutCancel(r.Context()), func(c *core) {
		if registered != nil && registered.out == out && out != nil {
			c.loseStream(registered)
		}
	})
	if err == nil && !errors.Is(ended, errStopped) {
		err = ended
	}
	return err
}

// workerCall is everything else that a worker says.
func (m *Master) workerCall(w http.ResponseWriter, r *http.Request) error {
	var call workerapi.Call
	if err := decode(w, r, maxBody, "Call", &call); err != nil {
		return err
	}
	if err := validateWorkerCall(&call); err != nil {
		return err
	}
	var refused error
	if err := m.do(r.Context(), func(c *core) { refused = c.workerCall(&call) }); err != nil {
		return err
	}
	if refused == nil {
		w.WriteHeader(http.StatusAccepted)
	}
	return refused
}

func validateWorkerCall(call *workerapi.Call) error {
	switch call.Type {
	case workerapi.CallPong:
	case workerapi.CallUpdate:
		if call.Update == nil {
			return refuse(http.StatusBadRequest, "Expecting 'update' to be present")
		}
		for _, id := range []string{call.Update.FrameworkID.Value, call.Update.Status.TaskID.Value} {
			if err := validateID(id); err != nil {
				return refuse(http.StatusBadRequest, "Failed to take the update: %v", err)
			}
		}
	case workerapi.CallInfo:
		if call.Info == nil {
			return refuse(http.StatusBadRequest, "Expecting 'info' to be present")
		}
		if err := validateInfo(call.Info); err != nil {
			return refuse(http.StatusBadRequest, "Failed to take the worker's info: %v", err)
		}
	default:
		return refuse(http.StatusBadRequest, "Call type '%.64s' is not supported", call.Type)
	}
	return nil
}

// workerCall wants the newest session of a worker that is registered.
func (c *core) workerCall(call *workerapi.Call) error {
	w := c.workers[call.AgentID.Value]
	switch {
	case w == nil || w.session == "":
		return refuse(http.StatusNotFound, "The worker is not registered; register it again")
	case w.session != call.Session:
		return refuse(http.StatusConflict, "A newer session of the worker is connected")
	case w.state == unreachable:
		return refuse(http.StatusNotFound, "The worker was unreachable; register it again")
	}
	w.heard = c.now
	switch call.Type {
	case workerapi.CallUpdate:
		c.update(w, call.Update)
	case workerapi.CallInfo:
		c.setInfo(w, *call.Info)
	}
	return nil
}

// url is where a worker's own API is.
func (w *worker) url() *mesos.URL {
	host, port, err := net.SplitHostPort(w.address)
	if err != nil {
		return nil
	}
	n, _ := strconv.Atoi(port)
	address := mesos.Address{Hostname: w.info.Hostname, Port: n}
	if net.ParseIP(host) != nil {
		address.IP = host
	}
	return &mesos.URL{Scheme: "http", Address: address, Path: "/slave(1)"}
}
