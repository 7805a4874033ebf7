#!/bin/sh
# baseline.sh DIRECTORY: a plain parallel start of some services, to compare with.
# Runs every DIRECTORY/*.start at once, asks every question of DIRECTORY/ready
# (lines "NAME URL REGEXP", parted by tabs) until all are answered, and stops what
# it started. Prints the seconds until then, the processor seconds the services
# took, and those the whole machine took. No gates, no archives. "bench/run start"
# writes such a directory.
# Environment: BASELINE_LIMIT, seconds until it gives up (180).
set -eu

fail() {
	echo "baseline.sh: $1" >&2
	exit 1
}

[ $# -eq 1 ] || fail 'give the directory with the launchers'
cd "$1" || exit 1
[ -s ready ] || fail "$1 has no list of questions; bench/run start writes one"
command -v curl >/dev/null || fail 'curl is needed to ask whether services are ready'
limit=${BASELINE_LIMIT:-180}
pids=

milliseconds() { date +%s%3N; }
# busy is the time all cores have worked so far, in clock ticks.
busy() { awk '$1 == "cpu" { print $2 + $3 + $4 + $7 + $8 }' /proc/stat; }

# stop ends what this script started, and nothing else.
stop() {
	trap '' INT TERM
	trap - EXIT
	# shellcheck disable=SC2086 # one word a process
	[ -z "$pids" ] || kill $pids 2>/dev/null || true
	for pid in $pids; do
		waited=0
		while kill -0 "$pid" 2>/dev/null && [ "$waited" -lt 300 ]; do
			sleep 0.1
			waited=$((waited + 1))
		done
		kill -9 "$pid" 2>/dev/null || true
	done
	wait
}
trap stop EXIT
trap 'exit 1' INT TERM

busybefore=$(busy)
began=$(milliseconds)
for launcher in ./*.start; do
	sh "$launcher" </dev/null >"${launcher%.start}.out" 2>&1 &
	pids="$pids $!"
done

# One after the other: the last to be ready decides.
tab=$(printf '\t')
while IFS=$tab read -r name url pattern; do
	until curl --silent --fail --max-time 2 "$url" 2>/dev/null | grep -Eq "$pattern"; do
		[ $(($(milliseconds) - began)) -lt $((limit * 1000)) ] || fail "$name is not ready after $limit s; see $1/$name.out"
		for pid in $pids; do
			kill -0 "$pid" 2>/dev/null || fail "a service ended before all were ready; see $1/*.out"
		done
		sleep 0.2
	done
done <ready
ended=$(milliseconds)
busyafter=$(busy)

ticks=0
for pid in $pids; do
	# After the name in parentheses: user time is the 12th field, system time the 13th.
	ticks=$((ticks + $(sed 's/.*) //' "/proc/$pid/stat" | awk '{print $12 + $13}')))
done
awk -v ms=$((ended - began)) -v ticks="$ticks" -v busy=$((busyafter - busybefore)) -v hz="$(getconf CLK_TCK)" \
	'BEGIN { printf "%.2f %.2f %.2f\n", ms / 1000, ticks / hz, busy / hz }'
