// Package pipeline owns declared chains of steps over a running platform: local
// files → dataset or feed → job or topology → a result compared with an
// independent count. A dataset is written by the pipeline itself, or by a program
// in containers on a cell. Load reads and checks a definition, Run runs it, LastRun
// says what the last run found.
//
// It reaches the platform through small interfaces of its own (FileSystem, Apps,
// Images, Jobs, Topologies) and imports api, document and its own count, nothing
// else of the project: no cluster, no protocol.
package pipeline
