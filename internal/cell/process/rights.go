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
	Images               List `json:"images"`  // projects whose images may be used besides the own
	Secrets              List `json:"secrets"` // beginnings of sources that may be used besides the own
}

func (r Rights) policy() policy.Policy {
	return policy.Policy{
		Privileged: r.Privileged, HostNetwork: r.HostNetwork, HostVolumes: r.HostVolumes, DockerParameters: r.DockerParameters, Users: r.Users,
		RootForPlainCommands: r.RootForPlainCommands, LocalFetch: r.LocalFetch, Datasets: r.Datasets, Images: r.Images, Secrets: r.Secrets,
	}
}

// of returns the policy of a project: its own images and secrets are always its to
// use, and all to the default project, which owns the installation.
func (r Rights) of(project, registry string) policy.Policy {
	p := r.policy()
	p.Project, p.Registry, p.Images = project, registry, append([]string{project}, p.Images...)
	if project == tenant.DefaultProject {
		p.Images, p.Secrets = []string{"*"}, []string{""}
	}
	return p
}
