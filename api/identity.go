package api

import "time"

// Authorities are the certificate authorities of an installation.
type Authorities struct {
	Authorities []Authority `json:"authorities" doc:"Those that are trusted, oldest first: one, or two while one takes over"`
	Lost        []LostNode  `json:"lost" doc:"Nodes whose certificate is good no longer"`
}

// Authority is one certificate authority.
type Authority struct {
	ID      string    `json:"id" doc:"Its id"`
	Created time.Time `json:"created" doc:"When it was made"`
	Expires time.Time `json:"expires" doc:"When it ends"`
	Issues  bool      `json:"issues" doc:"It signs the certificates agents get now"`
	Nodes   []string  `json:"nodes" doc:"Nodes that showed a certificate of it last"`
}

// LostNode is a node that cannot connect with the certificate it has.
type LostNode struct {
	Node    string `json:"node" doc:"Name of the node"`
	Message string `json:"message" doc:"What has become of its certificate"`
	Remedy  string `json:"remedy" doc:"Command that brings it back"`
}

// Rejoined says that a node may join again.
type Rejoined struct {
	Node    string    `json:"node" doc:"Name of the node"`
	Cluster string    `json:"cluster" doc:"Its cluster"`
	Until   time.Time `json:"until" doc:"How long its join file is good"`
}

// AuditEntry is one row of the audit record.
type AuditEntry struct {
	ID      int64     `json:"id" doc:"Its number, rising"`
	Time    time.Time `json:"time" doc:"When the result was known"`
	Who     string    `json:"who,omitempty" doc:"Id of the token; 'owner', 'node ID' or 'server'; absent for nobody known"`
	Name    string    `json:"name,omitempty" doc:"Name of the token"`
	Project string    `json:"project,omitempty" doc:"Its project"`
	Role    string    `json:"role,omitempty" doc:"Its role"`
	Origin  string    `json:"origin,omitempty" doc:"Address the request came from, or the process at the socket's other end"`
	What    string    `json:"what" doc:"Operation of the API"`
	Object  string    `json:"object,omitempty" doc:"What it was about: a path, or a node"`
	Status  int       `json:"status" doc:"Result, as a status of HTTP"`
	Detail  string    `json:"detail,omitempty" doc:"What else is to be known"`
}

// TokenInfo is what is kept of a token: everything but its text.
type TokenInfo struct {
	ID        string    `json:"id" doc:"Its id"`
	Name      string    `json:"name,omitempty" doc:"What it is used for"`
	Project   string    `json:"project" doc:"Project it is for"`
	Role      string    `json:"role" doc:"What it allows"`
	CreatedBy string    `json:"createdBy" doc:"Who made it: the id of a token, or 'owner'"`
	Issued    time.Time `json:"issued" doc:"When it was made"`
	Expires   time.Time `json:"expires,omitzero" doc:"When it ends; absent for never"`
	Revoked   time.Time `json:"revoked,omitzero" doc:"When it was taken back"`
	State     string    `json:"state" enum:"good,ended,revoked" doc:"Whether it gives access"`
}

// Security is the posture and what is open in it.
type Security struct {
	Posture string `json:"posture" enum:"single-user,shared" doc:"Security posture"`
	User    string `json:"user" doc:"User the server and its local services run as"`
	Address string `json:"address" doc:"Address of the API"`
	Risks   []Risk `json:"risks" doc:"What is weaker than it could be and can be mended"`
}

// Risk is one thing that is weaker than it could be.
type Risk struct {
	Kind    string `json:"kind" enum:"open-ports,token-without-end,authority-ends,authority-overlap,node-lost,certificate-ends,agent-version,deaf-cluster" doc:"Kind of risk"`
	Object  string `json:"object,omitempty" doc:"Token, authority, node or cluster it is about"`
	Message string `json:"message" doc:"What it is"`
	Remedy  string `json:"remedy" doc:"What mends it"`
}
