// Package webhdfstest is HDFS as a test sees it over the wire: a NameNode and a
// DataNode that speak WebHDFS on loopback and keep files in memory. It is for
// tests of what talks to HDFS, stands at the edge of the world, and imports
// nothing of Howdah. The answers and their oddities are Hadoop 3.5.0's; above
// all, a body that breaks off leaves what came of it as a complete file.
package webhdfstest
