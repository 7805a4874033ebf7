// Package dataset owns declared datasets: what a dataset is, whether a
// declaration is sound, and what is done in HDFS so that it is there. Reading
// and checking are pure; ensure, status and retention are a thin edge over
// WebHDFS.
//
// It knows projects by name only, and no clusters, apps or pipelines. It must not
// import the server, the store or the packages of clusters.
//
// Who may do what in HDFS: making a folder outside one's own, SETOWNER, SETQUOTA
// and the trash of others are the superuser's. So Ensure and Expire run as the
// warehouse's superuser, which is the user that its NameNode runs as; Look needs
// only the right to read.
package dataset
