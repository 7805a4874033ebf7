// Package proc owns operating-system processes on Linux: it starts them so that
// they outlive us, recognises them after our own restart, learns how they ended,
// stops them, and sweeps up what they left behind.
//
// It knows nothing of services, nodes or clusters beyond three labels that every
// process carries in its environment, and imports nothing of this module.
//
//	Start ──▶ running ──▶ exited          Wait, Signal, Stop through a pidfd
//	             ▲
//	Adopt ───────┘  by Record (boot id, pid, start time), or Find by Labels
//	Sweep, List     by Labels, over /proc
//
// A process is never addressed by its number alone: every signal goes through a
// pidfd that was checked against the process's start time.
//
// Needs Linux 5.4 (pidfds that can be polled and waited for). How a process ended
// that is not our child is known from Linux 6.15 on; before, only while its parent
// has not collected it.
package proc
