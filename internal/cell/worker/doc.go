// Package worker owns the tasks of one machine of a cell: it takes orders from the
// master, prepares what a task needs, has a runtime start it, watches it, and
// reports what becomes of it until that is acknowledged.
//
//	master ── orders ──▶ link ──▶ task ── fetch, image, sandbox ──▶ runtime ──▶ shim
//	master ◀─ updates ── deliver ◀── statuses ◀── exit, checks, quota ◀──┘
//
// The worker owns the truth about its tasks. Each has a directory:
//
//	tasks/ID/record.json   the task, its unacknowledged statuses, how it ended
//	tasks/ID/runN/         state of the runtime while it runs
//	sandboxes/ID/          what the task sees as its own
//
// It may be killed at any moment and come back: records are written before what
// follows from them is done, and tasks go on without it.
//
// It knows nothing of Marathon, apps or projects, and decides nothing about where
// tasks run.
package worker
