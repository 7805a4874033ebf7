// Package yarn reads the ResourceManager's REST service, and behind it the
// NodeManagers', the running ApplicationMasters' and the MapReduce history
// server's, and kills jobs. It submits nothing: that takes Hadoop's own client.
// It imports nothing of Howdah. Checked against Hadoop 3.5.0.
//
// What REST does not tell:
//   - the logs of a job that ended, unless log aggregation is on and the
//     history server is known;
//   - the logs of a container that ended while its job goes on, once its
//     NodeManager has cleaned up;
//   - map and reduce percentages and counters of a MapReduce job that was
//     killed or that failed before its ApplicationMaster wrote its history;
//   - an application older than the ResourceManager, unless recovery is on or
//     it is a MapReduce job the history server has.
package yarn
