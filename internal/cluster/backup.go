package cluster

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
)

// kindBackup marks tasks that copy a service's data. Their name is the backup's
// id and what is copied, as ID/SERVICE/DIR.
const kindBackup = "backup"

// archiving is the protocol from which on agents can send archives.
const archiving = 2

// BeginBackup has the agents copy the data of every service whose stack says how.
// A cluster that cannot is a refusal, unless it is one of those left out.
func (m *Manager) BeginBackup(ctx context.Context, r api.BackupRequest) (api.Backup, error) {
	id := strings.ToLower(ulid.Make().String())
	err := m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		clusters, err := tx.Clusters()
		if err != nil {
			return err
		}
		for _, name := range r.Without {
			if !slices.ContainsFunc(clusters, func(c store.Cluster) bool { return c.Name == name }) {
				return fmt.Errorf("cluster %s: %w", name, store.ErrNotFound)
			}
		}
		for _, c := range clusters {
			if c.Revision == 0 || slices.Contains(r.Without, c.Name) {
				continue
			}
			if err := m.beginBackup(tx, c, id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return api.Backup{}, err
	}
	return m.Backup(ctx, id)
}

// beginBackup adds the tasks of one cluster.
func (m *Manager) beginBackup(tx *store.Tx, c store.Cluster, id string) error {
	rev, s, err := m.revision(tx, c.ID, c.Revision)
	if err != nil {
		return err
	}
	render := stack.NewRenderer(s, rev, nil)
	for _, mem := range rev.Members {
		for _, name := range servicesOf(s, mem) {
			if s.Services[name].Backup == nil {
				continue
			}
			n, err := tx.Node(mem.ID)
			if err != nil {
				return err
			}
			if err := m.canBackUp(c, n, name); err != nil {
				return err
			}
			host := m.hostOf(n)
			task := strings.ToLower(ulid.Make().String())
			t, err := render.BackupTask(n.Name, name, *host, task, filepath.Join(host.Dir, "tasks", task))
			if err != nil {
				return err
			}
			if err := tx.PutTask(store.Task{
				ID: task, Cluster: c.ID, Node: n.ID, Kind: kindBackup, Name: strings.Join([]string{id, name, s.Services[name].Backup.Dir}, "/"),
				Task: *t, State: agentapi.TaskTodo, Status: agentapi.TaskStatus{ID: task, State: agentapi.TaskTodo}, Created: tx.Now(),
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// servicesOf lists the services a member runs.
func servicesOf(s *stack.Stack, mem stack.Member) []string {
	var out []string
	for _, role := range mem.Roles {
		out = append(out, s.Roles[role].Services...)
	}
	return out
}

// canBackUp refuses where nobody can copy a service's data now.
func (m *Manager) canBackUp(c store.Cluster, n store.Node, service string) error {
	m.mu.Lock()
	_, connected := m.sessions[n.ID]
	m.mu.Unlock()
	why := ""
	switch {
	case c.Intent != agentapi.IntentRun || c.Suspended || !running(n.Intent):
		why = fmt.Sprintf("%s does not run; start it: howdah start %s", c.Name, c.Name)
	case !connected || m.hostOf(n) == nil:
		why = "its agent is not connected: howdah explain " + c.Name
	case agentapi.Numbered(n.Facts.Protocol) < archiving:
		why = "its agent is of an earlier howdah: howdah upgrade"
	}
	if why == "" {
		return nil
	}
	return &GuardError{
		Message: fmt.Sprintf("the data of %s on %s cannot be copied: %s", service, n.Name, why),
		Detail:  "or leave it out: --without " + c.Name,
	}
}

// Backup says how far a backup is.
func (m *Manager) Backup(ctx context.Context, id string) (api.Backup, error) {
	out := api.Backup{ID: id, Final: true, Parts: []api.BackupPart{}, LeftOut: []string{}}
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		clusters, err := tx.Clusters()
		if err != nil {
			return err
		}
		for _, c := range clusters {
			if c.Revision == 0 {
				continue
			}
			rev, s, err := m.revision(tx, c.ID, c.Revision)
			if err != nil {
				return err
			}
			tasks, err := tx.Tasks(c.ID, kindBackup)
			if err != nil {
				return err
			}
			saved := map[string]bool{}
			for _, t := range tasks {
				p, mine, err := m.backupPart(tx, c, s, t, id)
				if err != nil {
					return err
				}
				if mine {
					saved[p.Service] = true
					out.Parts = append(out.Parts, p)
					out.Final = out.Final && (t.State == agentapi.TaskDone || t.State == agentapi.TaskFailed)
				}
			}
			out.LeftOut = append(out.LeftOut, unsaved(s, rev, saved)...)
		}
		return nil
	})
	return out, err
}

// backupPart tells of a task of a backup; false for one of another backup.
func (m *Manager) backupPart(tx *store.Tx, c store.Cluster, s *stack.Stack, t store.Task, id string) (p api.BackupPart, mine bool, err error) {
	name := strings.Split(t.Name, "/")
	if len(name) != 3 || name[0] != id {
		return p, false, nil
	}
	n, err := tx.Node(t.Node)
	if err != nil {
		return p, false, err
	}
	p = api.BackupPart{ID: t.ID, Cluster: c.Name, Node: n.Name, Service: name[1], Dir: name[2], State: string(t.State), Message: t.Status.Message}
	if p.Message == "" {
		p.Message = t.Status.Step
	}
	for _, sent := range t.Status.Sent {
		p.Files = append(p.Files, api.BackupFile{Path: m.sentPath(t.ID, sent.Step), Bytes: sent.Bytes, SHA256: sent.SHA256})
	}
	if t.State == agentapi.TaskDone {
		p.Point, err = s.BackupPoint(p.Service, t.Status.Value)
	}
	return p, true, err
}

// unsaved says which data of a cluster is in no backup.
func unsaved(s *stack.Stack, rev *stack.Revision, saved map[string]bool) []string {
	nodes := map[string]int{}
	for _, mem := range rev.Members {
		for _, svc := range servicesOf(s, mem) {
			nodes[svc]++
		}
	}
	var out []string
	for svc := range s.Services {
		dirs := s.Unsaved(svc)
		if b := s.Services[svc].Backup; b != nil && !saved[svc] {
			dirs = strings.TrimPrefix(dirs+", "+b.Dir, ", ")
		}
		if dirs != "" && nodes[svc] > 0 {
			out = append(out, fmt.Sprintf("%s: %s of %s on %d nodes", rev.Cluster.Name, dirs, svc, nodes[svc]))
		}
	}
	slices.Sort(out)
	return out
}

// sentPath is where an archive of a task is kept until the backup is written.
func (m *Manager) sentPath(task string, step int) string {
	return filepath.Join(m.cfg.Sent, task, fmt.Sprintf("%d.tar.gz", step))
}

// Sends returns where an archive that an agent sends belongs; store.ErrNotFound
// where nobody has asked that node for it.
func (m *Manager) Sends(ctx context.Context, node, task string, step int) (string, error) {
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		t, err := tx.Task(task)
		if err != nil {
			return err
		}
		if t.Node != node || t.Kind != kindBackup || t.State == agentapi.TaskDone || t.State == agentapi.TaskFailed ||
			step < 0 || step >= len(t.Task.Steps) || t.Task.Steps[step].Archive == nil {
			return fmt.Errorf("archive %d of task %s: %w", step, task, store.ErrNotFound)
		}
		return nil
	})
	return m.sentPath(task, step), err
}
