// Package shim owns the small process that stands between a worker and one task.
// It outlives the worker, so that a worker may die and come back while its tasks
// go on, and it alone learns how its task ended.
//
//	worker ── starts ──▶ shim ── starts ──▶ task (a command, or a container
//	  │                   │                by runc or a Docker engine)
//	  │                   │ stdout, stderr: files in the sandbox, rotated by size
//	  │                   │ ports: host address ──▶ loopback of the container
//	  │                   │ gateway: loopback of the container ──▶ outside
//	  ├─ kill.json + TERM ▶ TERM to the task, the grace period, KILL
//	  ├─ control.sock ───▶ run a command in the task, connect to a port of it
//	  ◀── started.json, exit.json (by rename; exit.json is synced first)
//
// All files are in the task's state directory, which only its owner can enter.
// Config says what to do; Client is the worker's side. Nothing of it needs the
// worker: a worker that comes back reads the files and finds the shim by its
// process record.
//
// The package knows nothing of apps, frameworks or images, and links little: its
// program is carried inside another one and runs once for each task.
package shim
