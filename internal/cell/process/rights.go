package process

import (
	"howdah.dev/howdah/internal/cell/policy"
	"howdah.dev/howdah/internal/tenant"
)

// Rights are a policy as configuration files write it. Absent means denied.
type Rights struct {
	Privileged           bool `json:"privileged"`
	HostNetwork          bool `json:"hostNetwork"`
	HostVolumes          List `json:"hostVolumes"`
	DockerParameters     List `json:"dockerParameters"`
	Users                List `json:"users"`
	RootForPlainCommands bool `json:"rootForPlainCommands"`
	LocalFetch           bool `json:"localFetch"`
	Datasets             List `json:"datasets"`
	Images               List `json:"images"` // projects whose images may be used besides the own
}

func (r Rights) policy() policy.Policy {
	return policy.Policy{
		Privileged: r.Privileged, HostNetwork: r.HostNetwork, HostVolumes: r.HostVolumes, DockerParameters: r.DockerParameters, Users: r.Users,
		RootForPlainCommands: r.RootForPlainCommands, LocalFetch: r.LocalFetch, Datasets: r.Datasets, Images: r.Images,
	}
}

// of returns the policy of a project: its own images are always its to use, and
// those of the default project, which owns the installation, all.
func (r Rights) of(project, registry string) policy.Policy {
	p := r.policy()
	p.Registry, p.Images = registry, append([]string{project}, p.Images...)
	if project == tenant.DefaultProject {
		p.Images = []string{"*"}
	}
	return p
}
