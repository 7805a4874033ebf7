#!/bin/bash
# Records which classes the daemons, clients and jobs load, and writes the class
# lists *.classes.gz beside this script. Run it again when a lock changes:
#
#   JAVA_HOME=<a JDK 17> stacks/shared/record-classes.sh [WORKDIR]
#
# It resolves and lays out the locks (Maven), starts everything once on loopback
# addresses 127.9.177.x, runs a word count and a topology, and stops what it
# started. It needs go, cc, gzip, curl and about 4 GB of memory, and takes two minutes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
work=${1:-$(mktemp -d)}
mkdir -p "$work"/{lists,log,conf,zk,bind}
work=$(cd "$work" && pwd)
java=${JAVA_HOME:?JAVA_HOME must name a JDK 17}/bin/java
net=127.9.177
pids=()

stop() { # the newest first, and wait: the lists are whole only after the exit
  local i
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do kill "${pids[i]}" 2>/dev/null || true; done
  for ((i = 0; i < ${#pids[@]}; i++)); do wait "${pids[i]}" 2>/dev/null || true; done
  pids=()
}
trap stop EXIT

wait_port() { # HOST PORT
  for _ in $(seq 300); do (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null && return; sleep 0.2; done
  echo "record-classes: $1:$2 did not open; see $work/log" >&2
  exit 1
}
wait_for() { # COMMAND...: until it succeeds
  for _ in $(seq 300); do "$@" >/dev/null 2>&1 && return; sleep 0.3; done
  echo "record-classes: gave up waiting for: $*; see $work/log" >&2
  exit 1
}
get() { curl -sf -m 5 -o /dev/null "$@"; }
classpath() { # LOCK DIR ROOT: the jars below DIR, in lock order
  awk -v d="$2/" -v r="$3/" 'index($1, d) == 1 { printf "%s%s%s", s, r, $1; s = ":" }' "$here/$1.lock"
}

# A daemon that insists on binding every address gets its node's instead, so
# that nothing listens beyond loopback.
cat >"$work/bind/bind.c" <<'C'
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
int bind(int fd, const struct sockaddr *a, socklen_t n) {
  static int (*real)(int, const struct sockaddr *, socklen_t);
  if (!real) real = dlsym(RTLD_NEXT, "bind");
  const char *ip = getenv("RECORD_ADDRESS");
  struct sockaddr_storage s;
  if (ip && n <= sizeof s) {
    memcpy(&s, a, n);
    struct sockaddr_in *v4 = (void *)&s;
    struct sockaddr_in6 *v6 = (void *)&s;
    if (s.ss_family == AF_INET && v4->sin_addr.s_addr == 0) {
      v4->sin_addr.s_addr = inet_addr(ip);
      a = (void *)&s;
    } else if (s.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr)) {
      unsigned char *b = v6->sin6_addr.s6_addr;
      in_addr_t x = inet_addr(ip);
      b[10] = b[11] = 0xff;
      memcpy(b + 12, &x, 4);
      a = (void *)&s;
    }
  }
  return real(fd, a, n);
}
C
cc -shared -fPIC -O1 -o "$work/bind/bind.so" "$work/bind/bind.c" -ldl

declare -A root
while read -r name dir; do root[$name]=$dir; done < <(cd "$repo" && go run ./internal/tools/layset "$work/cache" "$here"/{hadoop-3.5.0,zookeeper-3.9.5,storm-2.8.3}.lock)
hadoop=${root[hadoop-3.5.0]} zookeeper=${root[zookeeper-3.9.5]} storm=${root[storm-2.8.3]}

run() { # SET NAME NODE CLASSPATH ARGS...: a JVM that records, in this shell
  local set=$1 name=$2 node=$3 cp=$4
  shift 4
  LD_PRELOAD=$work/bind/bind.so RECORD_ADDRESS=$net.$node STORM_CONF_DIR=$work/conf HADOOP_USER_NAME=howdah USER=howdah \
    exec "$java" "${flags[@]}" "-XX:DumpLoadedClassList=$work/lists/$set.$name-%p" -cp "$cp" "$@" >"$work/log/$name.log" 2>&1
}
daemon() { (run "$@") & pids+=($!); }
client() { (run "$@") || { tail -5 "$work/log/$2.log" >&2; exit 1; }; }

# --- Hadoop
flags=(--add-opens=java.base/java.lang=ALL-UNNAMED --add-opens=java.base/java.util.concurrent=ALL-UNNAMED
  -Djava.net.preferIPv4Stack=true -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xmx256m "-Dlog4j.configuration=file:$work/conf/log4j.properties")
cat >"$work/conf/log4j.properties" <<'P'
log4j.rootLogger=INFO,A
log4j.appender.A=org.apache.log4j.ConsoleAppender
log4j.appender.A.layout=org.apache.log4j.PatternLayout
log4j.appender.A.layout.ConversionPattern=%d{ISO8601} %p %c: %m%n
P
hcp=$(classpath hadoop-3.5.0 lib "$hadoop")
site() { # FILE KEY VALUE...
  local file=$1
  shift
  { echo '<configuration>'; while (($# > 1)); do echo "<property><name>$1</name><value>$2</value></property>"; shift 2; done; echo '</configuration>'; } >"$work/conf/$file"
}
site core-site.xml fs.defaultFS "hdfs://$net.10:8020" hadoop.tmp.dir "$work/hadoop"
site hdfs-site.xml dfs.namenode.rpc-bind-host $net.10 dfs.namenode.http-address $net.10:9870 \
  dfs.namenode.datanode.registration.ip-hostname-check false dfs.namenode.safemode.extension 0 dfs.replication 1 \
  dfs.datanode.hostname $net.11 dfs.datanode.address $net.11:9866 dfs.datanode.http.address $net.11:9864 dfs.datanode.ipc.address $net.11:9867 \
  dfs.journalnode.rpc-address $net.13:8485 dfs.journalnode.http-address $net.13:8480 dfs.journalnode.edits.dir "$work/journal" \
  dfs.client.use.datanode.hostname true dfs.permissions.enabled false
site yarn-site.xml yarn.resourcemanager.hostname $net.20 yarn.resourcemanager.bind-host $net.20 yarn.nodemanager.hostname $net.21 yarn.nodemanager.bind-host $net.21 \
  yarn.nodemanager.address $net.21:8041 yarn.nodemanager.localizer.address $net.21:8040 yarn.nodemanager.webapp.address $net.21:8042 \
  yarn.nodemanager.aux-services mapreduce_shuffle yarn.nodemanager.vmem-check-enabled false yarn.nodemanager.env-whitelist JAVA_HOME,LD_PRELOAD,RECORD_ADDRESS \
  yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage 99.5 yarn.scheduler.minimum-allocation-mb 128 yarn.nodemanager.resource.memory-mb 4096 \
  yarn.nodemanager.log-dirs "$work/log/containers" yarn.log-aggregation-enable true yarn.application.classpath "$hcp"
record() { echo "-Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:DumpLoadedClassList=$work/lists/hadoop.$1-%p"; }
site mapred-site.xml mapreduce.framework.name yarn mapreduce.application.classpath "$hcp" mapreduce.shuffle.port 0 \
  mapreduce.jobhistory.address $net.20:10020 mapreduce.jobhistory.webapp.address $net.20:19888 mapreduce.jobhistory.admin.address $net.20:10033 mapreduce.jobhistory.bind-host $net.20 \
  yarn.app.mapreduce.am.resource.mb 512 yarn.app.mapreduce.am.command-opts "$(record am)" \
  mapreduce.map.memory.mb 512 mapreduce.map.java.opts "$(record map)" mapreduce.reduce.memory.mb 512 mapreduce.reduce.java.opts "$(record reduce)"
site capacity-scheduler.xml yarn.scheduler.capacity.root.queues default yarn.scheduler.capacity.root.default.capacity 100 yarn.scheduler.capacity.maximum-am-resource-percent 0.5
all=$hcp:$work/conf:$hadoop/web

client hadoop format 10 "$all" org.apache.hadoop.hdfs.server.namenode.NameNode -format -nonInteractive
daemon hadoop namenode 10 "$all" org.apache.hadoop.hdfs.server.namenode.NameNode
wait_port $net.10 8020
daemon hadoop datanode 11 "$all" org.apache.hadoop.hdfs.server.datanode.DataNode
daemon hadoop journalnode 13 "$all" org.apache.hadoop.hdfs.qjournal.server.JournalNode
daemon hadoop resourcemanager 20 "$all" org.apache.hadoop.yarn.server.resourcemanager.ResourceManager
wait_for sh -c "curl -s '$net.10:9870/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState' | grep -q '\"NumLiveDataNodes\" : 1'"
daemon hadoop history 20 "$all" org.apache.hadoop.mapreduce.v2.hs.JobHistoryServer
daemon hadoop nodemanager 21 "$all" org.apache.hadoop.yarn.server.nodemanager.NodeManager
wait_for sh -c "curl -s $net.20:8088/ws/v1/cluster/metrics | grep -q '\"activeNodes\":1'"

for i in $(seq 2000); do echo "the carriage on an elephant's back $i"; done >"$work/words"
client hadoop mkdir 30 "$all" org.apache.hadoop.fs.FsShell -mkdir -p /in /done /bad /storm
client hadoop put 30 "$all" org.apache.hadoop.fs.FsShell -put "$work/words" /in/words
client hadoop quota 30 "$all" org.apache.hadoop.hdfs.tools.DFSAdmin -setSpaceQuota 1g /storm
client hadoop report 30 "$all" org.apache.hadoop.hdfs.tools.DFSAdmin -report
client hadoop wordcount 30 "$all" org.apache.hadoop.util.RunJar "$hadoop/examples/hadoop-mapreduce-examples.jar" wordcount /in /out
client hadoop cat 30 "$all" org.apache.hadoop.fs.FsShell -cat /out/part-r-00000
client hadoop ls 30 "$all" org.apache.hadoop.fs.FsShell -ls -R /
client hadoop rmadmin 30 "$all" org.apache.hadoop.yarn.client.cli.RMAdminCLI -refreshNodes
wait_for get $net.20:19888/ws/v1/history/mapreduce/jobs
get -L "$net.10:9870/webhdfs/v1/in/words?op=OPEN&user.name=howdah"
get -L -T "$work/words" "$net.10:9870/webhdfs/v1/in/again?op=CREATE&user.name=howdah" || true
for url in $net.10:9870/{jmx,dfshealth.html,webhdfs/v1/?op=LISTSTATUS} $net.11:9864/{jmx,datanode.html} $net.20:8088/{jmx,cluster,ws/v1/cluster/apps} $net.21:8042/{jmx,node,ws/v1/node/info} $net.20:19888/{jmx,jobhistory}; do
  get "$url" || echo "record-classes: no answer from $url" >&2
done

# --- ZooKeeper
flags=(-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xmx128m)
for i in 1 2 3; do # an ensemble: election, leader and followers
  mkdir -p "$work/zk/$i/conf"
  echo $i >"$work/zk/$i/myid"
  cat >"$work/zk/$i/zoo.cfg" <<P
tickTime=2000
initLimit=10
syncLimit=5
dataDir=$work/zk/$i
clientPort=2181
clientPortAddress=$net.4$i
admin.serverAddress=$net.4$i
metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider
metricsProvider.httpHost=$net.4$i
server.1=$net.41:2888:3888
server.2=$net.42:2888:3888
server.3=$net.43:2888:3888
P
  daemon zookeeper quorum$i 4$i "$(classpath zookeeper-3.9.5 lib "$zookeeper"):$work/zk/$i/conf" org.apache.zookeeper.server.quorum.QuorumPeerMain "$work/zk/$i/zoo.cfg"
done
wait_for get $net.41:8080/commands/leader
mkdir -p "$work/zk/alone/conf"
sed -e '/^server/d' -e "s/$net.41/$net.44/; s#zk/1#zk/alone#" "$work/zk/1/zoo.cfg" >"$work/zk/alone/zoo.cfg"
daemon zookeeper alone 44 "$(classpath zookeeper-3.9.5 lib "$zookeeper"):$work/zk/alone/conf" org.apache.zookeeper.server.quorum.QuorumPeerMain "$work/zk/alone/zoo.cfg"
wait_port $net.44 2181
for url in $net.44:8080/commands/{ruok,monitor,stats,connections} $net.44:7000/metrics; do get "$url"; done

# --- Storm
flags=(-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xss512k -Xmx256m)
home=$work/storm-home
mkdir -p "$home/log4j2" "$work/storm-log"
for dir in lib lib-worker extlib; do ln -sfn "$storm/$dir" "$home/$dir"; done
tee "$home/log4j2/cluster.xml" >"$home/log4j2/worker.xml" <<'P'
<configuration><appenders><RollingFile name="A" fileName="${sys:storm.log.dir}/${sys:logfile.name}" filePattern="${sys:storm.log.dir}/${sys:logfile.name}.%i">
<PatternLayout pattern="%d %c{1.} [%p] %msg%n"/><SizeBasedTriggeringPolicy size="10 MB"/><DefaultRolloverStrategy max="2"/></RollingFile></appenders>
<loggers><root level="info"><appender-ref ref="A"/></root></loggers></configuration>
P
# shellcheck disable=SC2016 # log4j fills these in, not the shell
sed -i 's#${sys:storm.log.dir}/${sys:logfile.name}#${sys:workers.artifacts}/${sys:storm.id}/${sys:worker.port}/${sys:logfile.name}#g' "$home/log4j2/worker.xml"
quick="-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xss512k"
cat >"$work/conf/storm.yaml" <<P
storm.zookeeper.servers: ["$net.44"]
nimbus.seeds: ["$net.50"]
storm.local.hostname: "$net.50"
storm.local.dir: "$work/storm-local"
storm.log.dir: "$work/storm-log"
storm.workers.artifacts.dir: "$work/storm-log/artifacts"
storm.log4j2.conf.dir: "$home/log4j2"
storm.metricstore.class: none.Such
storm.blobstore.replication.factor: 1
topology.min.replication.count: 1
nimbus.monitor.freq.secs: 2
supervisor.monitor.frequency.secs: 1
executor.metrics.frequency.secs: 5
supervisor.slots.ports: [6700]
supervisor.memory.capacity.mb: 2048
worker.childopts: "$quick -XX:DumpLoadedClassList=$work/lists/storm-worker.worker-%p"
topology.worker.logwriter.childopts: "$quick -XX:DumpLoadedClassList=$work/lists/storm-worker.logwriter-%p"
P
cat >"$work/topology.yaml" <<P
name: classes
config: {topology.workers: 1, topology.component.resources.onheap.memory.mb: 48, topology.metrics.reporters: [{class: org.apache.storm.metrics2.reporters.JmxStormReporter}]}
components:
  - {id: sync, className: org.apache.storm.hdfs.bolt.sync.CountSyncPolicy, constructorArgs: [100]}
  - {id: rotation, className: org.apache.storm.hdfs.bolt.rotation.NoRotationPolicy}
  - {id: names, className: org.apache.storm.hdfs.bolt.format.DefaultFileNameFormat, configMethods: [{name: withPath, args: [/storm]}]}
  - {id: records, className: org.apache.storm.hdfs.bolt.format.DelimitedRecordFormat}
spouts:
  - id: lines
    className: org.apache.storm.hdfs.spout.HdfsSpout
    configMethods:
      - {name: setReaderType, args: [text]}
      - {name: withOutputFields, args: [[line]]}
      - {name: setHdfsUri, args: ["hdfs://$net.10:8020"]}
      - {name: setSourceDir, args: [/in]}
      - {name: setArchiveDir, args: [/done]}
      - {name: setBadFilesDir, args: [/bad]}
  - {id: words, className: org.apache.storm.testing.TestWordSpout}
bolts:
  - id: out
    className: org.apache.storm.hdfs.bolt.HdfsBolt
    configMethods:
      - {name: withFsUrl, args: ["hdfs://$net.10:8020"]}
      - {name: withFileNameFormat, args: [{ref: names}]}
      - {name: withRecordFormat, args: [{ref: records}]}
      - {name: withRotationPolicy, args: [{ref: rotation}]}
      - {name: withSyncPolicy, args: [{ref: sync}]}
  - {id: count, className: org.apache.storm.testing.TestWordCounter}
streams:
  - {from: lines, to: out, grouping: {type: SHUFFLE}}
  - {from: words, to: count, grouping: {type: FIELDS, args: [word]}}
P
scp=$(classpath storm-2.8.3 lib "$storm"):$work/conf
wcp=$(classpath storm-2.8.3 lib-worker "$storm"):$(classpath storm-2.8.3 extlib "$storm")
common=(-Dstorm.options= "-Dstorm.home=$home" "-Dstorm.log.dir=$work/storm-log" -Djava.library.path=/usr/lib -Dstorm.conf.file=)
storm_daemon() { # NAME CLASS
  daemon storm "$1" 50 "$scp" "-Ddaemon.name=$1" "${common[@]}" "-Dlogfile.name=$1.log" -Djava.deserialization.disabled=true "-Dlog4j.configurationFile=$home/log4j2/cluster.xml" "$2"
}
storm_daemon nimbus org.apache.storm.daemon.nimbus.Nimbus
storm_daemon supervisor org.apache.storm.daemon.supervisor.Supervisor
wait_port $net.50 6627
cp "$storm/flux/flux-core.jar" "$work/topology.jar"
submit=(-Ddaemon.name= "${common[@]}" "-Dstorm.jar=$work/topology.jar" -Dstorm.dependency.jars= '-Dstorm.dependency.artifacts={}')
client storm-worker submit 50 "$wcp:$work/topology.jar:$work/conf" "${submit[@]}" org.apache.storm.flux.Flux -n -q "$work/topology.yaml"
wait_port $net.50 6700
wait_for get "$net.10:9870/webhdfs/v1/done/words?op=GETFILESTATUS" # the spout has read and archived its file
sleep 5
client storm-worker kill 50 "$storm/cli/storm-core.jar:$storm/cli/commons-cli.jar:$wcp:$work/conf" "${submit[@]}" org.apache.storm.command.KillTopology classes -w 1
sleep 8
stop

# --- the lists
# Without what a JVM makes up as it runs: lambdas, proxies, accessors, flight recorder handlers.
made_up='^#|^@|^$|source:|[$][$]Lambda|[$]Proxy[0-9]|/Generated[A-Za-z]*Accessor|EventHandler[0-9]+_|FastClassBy|EnhancerBy|ConstructorAccess$'
merge() { # NAME PREFIX
  local out=$1
  cat "$work/lists/$2".* | grep -vE "$made_up" | sed 's/ id:.*//' | LC_ALL=C sort -u | gzip -9n >"$here/$out.classes.gz"
  echo "$out.classes.gz: $(gzip -dc "$here/$out.classes.gz" | wc -l) classes"
}
merge hadoop-3.5.0 hadoop
merge zookeeper-3.9.5 zookeeper
merge storm-2.8.3 storm
merge storm-2.8.3-worker storm-worker
echo "logs and lists: $work"
