package gateway

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// need is what an operation needs of the dataset its paths are in.
type need int

const (
	nothing need = iota // no path is looked at
	read
	write
)

// kind is how an operation is answered.
type kind int

const (
	plain  kind = iota // by the NameNode
	fetch              // by a DataNode, after a redirect
	upload             // by a DataNode, after a redirect, with a body
)

// operation is one operation of WebHDFS that is let through.
type operation struct {
	method string
	kind   kind
	need   need
	params []string // parameters that are passed on, in small letters
	// tree: it takes away everything below its path, or puts something in the
	// path's place; so no dataset may be at the path or below.
	tree bool
}

// operations are all that a caller may ask. What is not here, in operation or
// parameter, does not reach HDFS. Parameters that carry paths are checked apart.
var operations = map[string]operation{
	"OPEN":              {method: http.MethodGet, kind: fetch, need: read, params: []string{"offset", "length", "buffersize"}},
	"GETFILECHECKSUM":   {method: http.MethodGet, kind: fetch, need: read},
	"GETFILESTATUS":     {method: http.MethodGet, need: read},
	"LISTSTATUS":        {method: http.MethodGet, need: read},
	"LISTSTATUS_BATCH":  {method: http.MethodGet, need: read, params: []string{"startafter"}},
	"GETCONTENTSUMMARY": {method: http.MethodGet, need: read},
	"GETQUOTAUSAGE":     {method: http.MethodGet, need: read},
	"GETACLSTATUS":      {method: http.MethodGet, need: read},
	"CHECKACCESS":       {method: http.MethodGet, need: read, params: []string{"fsaction"}},
	"GETTRASHROOT":      {method: http.MethodGet, need: read},
	"GETHOMEDIRECTORY":  {method: http.MethodGet, need: nothing},
	"GETSERVERDEFAULTS": {method: http.MethodGet, need: nothing},

	"CREATE": {method: http.MethodPut, kind: upload, need: write, params: []string{
		"overwrite", "blocksize", "replication", "permission", "unmaskedpermission", "createparent", "createflag",
	}},
	"APPEND":   {method: http.MethodPost, kind: upload, need: write},
	"MKDIRS":   {method: http.MethodPut, need: write, params: []string{"permission", "unmaskedpermission"}},
	"RENAME":   {method: http.MethodPut, need: write, params: []string{"renameoptions"}, tree: true},
	"DELETE":   {method: http.MethodDelete, need: write, params: []string{"recursive"}, tree: true},
	"CONCAT":   {method: http.MethodPost, need: write},
	"TRUNCATE": {method: http.MethodPost, need: write, params: []string{"newlength"}},
	"SETTIMES": {method: http.MethodPut, need: write, params: []string{"modificationtime", "accesstime"}},
}

// refusedFor says why some operations of WebHDFS are not let through.
var refusedFor = map[string]string{
	"SETPERMISSION":         "who may use a dataset is declared with it; give permission= with CREATE or MKDIRS",
	"SETOWNER":              "the owner of a dataset is declared with it",
	"SETACL":                "who may use a dataset is declared with it",
	"SETQUOTA":              "the quota of a dataset is declared with it",
	"SETREPLICATION":        "give replication= with CREATE",
	"CREATESYMLINK":         "a link could lead out of the dataset",
	"GETDELEGATIONTOKEN":    "the task's own token is used for every request",
	"GET_BLOCK_LOCATIONS":   "DataNodes cannot be reached from here; use OPEN with offset and length",
	"GETFILEBLOCKLOCATIONS": "DataNodes cannot be reached from here; use OPEN with offset and length",
}

// find returns the operation of a request.
func find(name, method string) (operation, error) {
	op, ok := operations[name]
	switch {
	case name == "":
		return op, invalid("the request names no operation; give op=, one of %v", known())
	case !ok && refusedFor[name] != "":
		return op, unsupported("%s is not allowed through the gateway: %s", name, refusedFor[name])
	case !ok:
		return op, unsupported("there is no operation %.40q here; known are %v", name, known())
	case op.method != method:
		return op, invalid("%s needs the HTTP method %s, not %.20s", name, op.method, method)
	}
	return op, nil
}

func known() string {
	return fmt.Sprint(slices.Sorted(maps.Keys(operations)))
}
