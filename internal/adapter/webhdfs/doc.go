// Package webhdfs reads and writes HDFS over HTTP: the NameNode's WebHDFS
// service, and HttpFS, which speaks the same. It owns the protocol only and
// imports nothing of Howdah.
//
// File contents stream between the caller and a DataNode, whose address the
// NameNode hands out: it must be reachable from here. Checked against Hadoop
// 3.5.0.
package webhdfs
