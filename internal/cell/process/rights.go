package process

import "howdah.dev/howdah/internal/cell/policy"

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
}

func (r Rights) policy() policy.Policy {
	return policy.Policy{
		Privileged: r.Privileged, HostNetwork: r.HostNetwork, HostVolumes: r.HostVolumes, DockerParameters: r.DockerParameters, Users: r.Users,
		RootForPlainCommands: r.RootForPlainCommands, LocalFetch: r.LocalFetch, Datasets: r.Datasets,
	}
}
