package master

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/workerapi"
)

const (
	maxID    = 255
	maxRoles = 100
	maxNames = 1000   // resources or attributes of one worker, resources of one task
	maxTasks = 20_000 // of one worker

	maxFrameworks = 1000
	maxWorkers    = 5000
)

// validateID has Mesos's rules for ids that frameworks choose.
func validateID(id string) error {
	switch {
	case id == "":
		return errors.New("ID must not be empty")
	case len(id) > maxID:
		return fmt.Errorf("ID must not be greater than %d characters", maxID)
	case id == "." || id == "..":
		return fmt.Errorf("'%s' is disallowed", id)
	case strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f || r == '/' || r == '\\' }):
		return fmt.Errorf("'%s' contains invalid characters", id)
	}
	return nil
}

func validateRole(role string) error {
	switch {
	case role == mesos.DefaultRole:
		return nil
	case role == "":
		return errors.New("Empty role name is invalid")
	case len(role) > maxID:
		return fmt.Errorf("Role name must not be longer than %d characters", maxID)
	case strings.HasPrefix(role, "/") || strings.HasSuffix(role, "/"):
		return fmt.Errorf("Role '%s' cannot start or end with a slash", role)
	}
	for part := range strings.SplitSeq(role, "/") {
		switch {
		case part == "" || part == "." || part == ".." || part == mesos.DefaultRole || strings.HasPrefix(part, "-"):
			return fmt.Errorf("Role '%s' has the invalid part '%s'", role, part)
		case strings.ContainsFunc(part, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }):
			return fmt.Errorf("Role '%s' contains invalid characters", role)
		}
	}
	return nil
}

// validateFramework says what is wrong with a subscription.
func validateFramework(sub *mesos.Subscribe) error {
	info := &sub.FrameworkInfo
	multi := info.Has(mesos.CapMultiRole)
	switch {
	case multi && info.Role != "":
		return errors.New("'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable")
	case !multi && len(info.Roles) > 0:
		return errors.New("'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable")
	case len(info.Roles) > maxRoles:
		return fmt.Errorf("'FrameworkInfo.roles' has more than %d roles", maxRoles)
	}
	if info.ID != nil {
		if err := validateID(info.ID.Value); err != nil {
			return fmt.Errorf("'FrameworkInfo.id' is invalid: %w", err)
		}
	}
	f := newFramework("", *info)
	seen := map[string]bool{}
	for _, role := range f.roles {
		if err := validateRole(role); err != nil {
			return err
		}
		if seen[role] {
			return fmt.Errorf("'FrameworkInfo.roles' contains duplicate items: %s", role)
		}
		seen[role] = true
	}
	for _, role := range sub.SuppressedRoles {
		if !seen[role] {
			return fmt.Errorf("Suppressed role '%s' is not contained in the list of roles", role)
		}
	}
	if !(info.FailoverTimeout >= 0) {
		return fmt.Errorf("'FrameworkInfo.failover_timeout' must not be negative")
	}
	return nil
}

// validateTask says what is wrong with a task for itself, whatever else runs.
func validateTask(l launch, worker, role string) error {
	t := &l.info
	if err := validateID(t.TaskID.Value); err != nil {
		return fmt.Errorf("Task has an invalid ID: %w", err)
	}
	switch {
	case l.problem != "":
		return errors.New(l.problem)
	case t.AgentID.Value != worker:
		return fmt.Errorf("Task uses invalid agent %s while agent %s is expected", t.AgentID.Value, worker)
	case given(t.Executor):
		return errors.New("Task has an ExecutorInfo; custom executors are not supported: give a CommandInfo")
	case t.Command == nil:
		return errors.New("Task should have at least one (but not both) of CommandInfo or ExecutorInfo present")
	case t.KillPolicy != nil && t.KillPolicy.GracePeriod != nil && t.KillPolicy.GracePeriod.Nanoseconds < 0:
		return errors.New("Task's 'kill_policy.grace_period' must be non-negative")
	}
	return errors.Join(validateUse(t, role), validateContainer(t.Container), validateChecks(t))
}

func validateUse(t *mesos.TaskInfo, role string) error {
	if mesos.Resources(t.Resources).Empty() {
		return errors.New("Task uses no resources")
	}
	if len(t.Resources) > maxNames {
		return fmt.Errorf("Task names more than %d resources", maxNames)
	}
	if err := mesos.Resources(t.Resources).Validate(); err != nil {
		return fmt.Errorf("Task uses invalid resources: %w", err)
	}
	for _, r := range t.Resources {
		if to := r.AllocatedTo(); to != "" && to != role {
			return fmt.Errorf("Task uses invalid resources: '%s' is allocated to role '%s' while the offer is for role '%s'", r.Name, to, role)
		}
		if r.Name == "gpus" {
			return errors.New("Task uses invalid resources: 'gpus' is not supported")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Limits)) {
		have := mesos.Resources(t.Resources).Scalar(name)
		switch v := t.Limits[name].Value; {
		case name != "cpus" && name != "mem":
			return fmt.Errorf("Task has a limit of '%s'; only cpus and mem can be limited", name)
		case !(v >= have):
			return fmt.Errorf("Task has a limit of '%s' below what it asks for", name)
		}
	}
	return nil
}

func validateContainer(c *mesos.ContainerInfo) error {
	switch {
	case c == nil:
		return nil
	case c.Type != mesos.ContainerDocker && c.Type != mesos.ContainerMesos:
		return fmt.Errorf("Task has a container of the unsupported type '%s'", c.Type)
	case c.Type == mesos.ContainerDocker && c.Docker == nil:
		return errors.New("Task has a container of type DOCKER without DockerInfo")
	case c.Mesos != nil && c.Mesos.Image != nil && c.Mesos.Image.Type != mesos.ContainerDocker:
		return fmt.Errorf("Task has an image of the unsupported type '%s'", c.Mesos.Image.Type)
	}
	for _, v := range c.Volumes {
		if v.Source != nil && v.Source.Type != "SECRET" {
			return fmt.Errorf("Task has a volume at '%s' of the unsupported source type '%s'", v.ContainerPath, v.Source.Type)
		}
	}
	return nil
}

func validateChecks(t *mesos.TaskInfo) error {
	known := []string{"COMMAND", "HTTP", "TCP"}
	if t.HealthCheck != nil && !slices.Contains(known, t.HealthCheck.Type) {
		return fmt.Errorf("Task has a health check of the unsupported type '%s'", t.HealthCheck.Type)
	}
	if t.Check != nil && !slices.Contains(known, t.Check.Type) {
		return fmt.Errorf("Task has a check of the unsupported type '%s'", t.Check.Type)
	}
	return nil
}

// validateInfo says what is wrong with a worker's description.
func validateInfo(info *mesos.AgentInfo) error {
	switch {
	case info.Hostname == "" || len(info.Hostname) > maxID:
		return fmt.Errorf("the worker's hostname must have 1 to %d characters", maxID)
	case len(info.Resources) > maxNames || len(info.Attributes) > maxNames:
		return fmt.Errorf("the worker names more than %d resources or attributes", maxNames)
	case info.Port < 0 || info.Port > 65535:
		return fmt.Errorf("the worker's port %d is no port", info.Port)
	}
	if err := mesos.Resources(info.Resources).Validate(); err != nil {
		return fmt.Errorf("the worker has invalid resources: %w", err)
	}
	return nil
}

// validateRegister says what is wrong with a worker's registration.
func validateRegister(reg *workerapi.Register) error {
	switch {
	case reg.Session == "" || len(reg.Session) > maxID:
		return fmt.Errorf("the session must have 1 to %d characters", maxID)
	case len(reg.Tasks) > maxTasks:
		return fmt.Errorf("the worker has more than %d tasks", maxTasks)
	}
	if reg.Info.ID != nil {
		if err := validateID(reg.Info.ID.Value); err != nil {
			return fmt.Errorf("the worker's id is invalid: %w", err)
		}
	}
	if err := validateInfo(&reg.Info); err != nil {
		return err
	}
	seen := map[taskKey]bool{}
	for i := range reg.Tasks {
		t := &reg.Tasks[i]
		key := taskKey{t.FrameworkID.Value, t.Info.TaskID.Value}
		if err := errors.Join(validateID(key.framework), validateID(key.task)); err != nil {
			return fmt.Errorf("a task of the worker is invalid: %w", err)
		}
		if seen[key] {
			return fmt.Errorf("the worker names task '%s' twice", key.task)
		}
		seen[key] = true
		if err := mesos.Resources(t.Info.Resources).Validate(); err != nil {
			return fmt.Errorf("task '%s' of the worker is invalid: %w", key.task, err)
		}
	}
	return nil
}
