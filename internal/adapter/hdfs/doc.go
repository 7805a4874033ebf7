// Package hdfs reads the state of an HDFS from a NameNode's /jmx page: which
// DataNodes live, which leave, what is missing, whether safe mode is on. It
// only reads; files are package webhdfs's business, changes an admin command's.
// It imports nothing of Howdah. Checked against Hadoop 3.5.0.
package hdfs
