// Package backup owns the file that holds a backup: it writes one from a home and
// the archives agents have sent, checks one, and makes a home of one. It knows
// where a home keeps what, and no kind of cluster. It must not import the command
// line.
//
// The file is a tar compressed with zstd. Its last member, manifest.json, lists all
// others with their digests; the file appears by rename, for its owner only,
// because it holds the keys of the installation.
package backup
