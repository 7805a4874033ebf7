package api

// BackupRequest asks for copies of the data that clusters keep.
type BackupRequest struct {
	Without []string `json:"without,omitempty" doc:"Clusters whose data is left out"`
}

// Backup is the copying of the data that clusters keep.
type Backup struct {
	ID      string       `json:"id" doc:"Number of the backup"`
	Final   bool         `json:"final" doc:"Whether every part is over"`
	Parts   []BackupPart `json:"parts" doc:"What is copied"`
	LeftOut []string     `json:"leftOut" doc:"Data that no backup holds, in words"`
}

// BackupPart is a copy of one directory of one service.
type BackupPart struct {
	ID      string       `json:"id" doc:"Number of the copy"`
	Cluster string       `json:"cluster" doc:"Cluster"`
	Node    string       `json:"node" doc:"Node"`
	Service string       `json:"service" doc:"Service"`
	Dir     string       `json:"dir" doc:"Directory of the service"`
	State   string       `json:"state" enum:"todo,running,done,failed" doc:"Where it stands"`
	Message string       `json:"message,omitempty" doc:"What it does, or why it failed"`
	Point   string       `json:"point,omitempty" doc:"What the copy stands for"`
	Files   []BackupFile `json:"files,omitempty" doc:"Archives of it that the server holds"`
}

// BackupFile is an archive the server holds until it is fetched.
type BackupFile struct {
	Path   string `json:"path" doc:"File on the server's host"`
	Bytes  int64  `json:"bytes" doc:"Its size"`
	SHA256 string `json:"sha256" doc:"Its digest"`
}
