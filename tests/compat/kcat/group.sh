#!/usr/bin/env bash
# A member of a group, with kcat; see ../README.md for what it prints. kcat commits by itself and
# does not tell, at the latest when it leaves.
# group.sh BOOTSTRAP TOPIC GROUP
set -euo pipefail
bootstrap=$1 topic=$2 group=$3
exec 3<&0
# kcat tells a change in its standard error as "assigned: topic [0], topic [1]", or "revoked: ...". That
# stays there: of records it writes a line in pieces, between which nothing else may get.
# With -E it goes on when the broker goes away.
kcat -b "$bootstrap" -G "$group" -E -u -f 'got %p %o %s\n' \
  -X auto.offset.reset=earliest -X auto.commit.interval.ms=100 -X session.timeout.ms=10000 \
  -X heartbeat.interval.ms=500 -X reconnect.backoff.max.ms=200 "$topic" < /dev/null \
  2> >(sed -un "s/.*): assigned: /assigned /;s/.*): revoked: .*/assigned /;/^assigned/{s/$topic \[//g;s/[],]//g;p}" >&2) &
pid=$!
cat <&3 > /dev/null # until the test closes it
kill -TERM "$pid"
wait "$pid" || true
echo left
