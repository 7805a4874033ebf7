// Package gateway lets containers use the warehouse over WebHDFS without
// trusting them: it checks every request by verb and path against what its
// token grants, sets the HDFS user itself, follows the redirect to the DataNode
// itself, bounds what one token may do at a time, and records every change.
//
// The package owns the protocol's front door and nothing else. It knows no
// clusters, apps or tokens: who a token belongs to is asked of its Config, and
// so is where the warehouse is. It must not import the server, the cell or the
// packages of clusters.
//
// What is let through is a closed list (see operations): an operation, a
// parameter or a path that this package does not know never reaches HDFS.
package gateway
