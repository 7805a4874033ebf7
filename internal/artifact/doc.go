// Package artifact owns the files that services are made of: the locks that
// name them, the cache that holds them by digest, the sets unpacked from the
// cache for services to run from, and the class-data archives beside the sets.
//
// A server resolves a lock once, through the Maven of the person who runs it;
// agents fetch the blobs from the server by digest. Server and agents may
// share one cache directory: every file in it appears by rename, and who
// builds something holds a file lock, so any process may be killed at any time.
//
//	<Dir>/blobs/<sha256>                  verified, read-only, fixed time stamp
//	<Dir>/partial/<sha256>                a fetch in progress, resumed by offset
//	<Dir>/tmp/                            files being written
//	<Dir>/sets/<id>/                      a lock, laid out
//	<Dir>/sets/<id>.cds/<name>-<jdk>.jsa  a class-data archive over a set's jars
//	<Dir>/locks/                          file locks
//
// The package knows no cluster type, and imports nothing of Howdah but
// api and untrusted.
package artifact
