#!/usr/bin/env bash
# Exercises a broker with kcat; see ../README.md. kcat administers nothing: its topic is made by
# its first produce.
set -euo pipefail
bootstrap=$1
run=$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
records=500

check() { # WHAT EXPECTED-FILE ACTUAL-FILE
  cmp -s "$2" "$3" || { echo "FAIL $1"; diff "$2" "$3" | head -5; exit 1; }
  echo "ok $1"
}

for codec in none gzip snappy lz4 zstd; do
  topic=compat-kcat-$run-$codec
  for ((n = 0; n < records; n++)); do
    printf 'key-%d|%s-%d-%0*d\n' "$n" "$codec" "$n" "$((1 + n % 300))" "$n"
  done > "$scratch/sent"
  kcat -b "$bootstrap" -P -t "$topic" -p 0 -K '|' -z "$codec" -H "codec=$codec" \
    -X enable.idempotence=true -X linger.ms=5 -X batch.num.messages=70 \
    -X message.timeout.ms=30000 < "$scratch/sent"
  kcat -b "$bootstrap" -X fetch.wait.max.ms=20 -C -t "$topic" -p 0 -o beginning -e -q -f '%k|%s\n' > "$scratch/got"
  check "content and order, codec $codec" "$scratch/sent" "$scratch/got"

  kcat -b "$bootstrap" -X fetch.wait.max.ms=20 -C -t "$topic" -p 0 -o beginning -e -q -f '%o %h\n' > "$scratch/got"
  for ((n = 0; n < records; n++)); do echo "$n codec=$codec"; done > "$scratch/expected"
  check "offsets and headers, codec $codec" "$scratch/expected" "$scratch/got"

  kcat -b "$bootstrap" -X fetch.wait.max.ms=20 -C -t "$topic" -p 0 -o -3 -e -q -f '%o\n' > "$scratch/got"
  printf '%d\n' $((records - 3)) $((records - 2)) $((records - 1)) > "$scratch/expected"
  check "from the end, codec $codec" "$scratch/expected" "$scratch/got"

  # The first record at or after a time: asked with the times that the broker gave back.
  kcat -b "$bootstrap" -X fetch.wait.max.ms=20 -C -t "$topic" -p 0 -o beginning -e -q -f '%o %T\n' > "$scratch/times"
  last_time=$(tail -n 1 "$scratch/times" | cut -d ' ' -f 2)
  awk -v t="$last_time" '$2 >= t { print $1; exit }' "$scratch/times" > "$scratch/expected"
  kcat -b "$bootstrap" -Q -t "$topic:0:$last_time" | sed 's/.*offset //' > "$scratch/got"
  check "offset by time, codec $codec" "$scratch/expected" "$scratch/got"
done

kcat -b "$bootstrap" -L -t "compat-kcat-$run-none" | grep -o 'with 1 partitions' > "$scratch/got"
echo "with 1 partitions" > "$scratch/expected"
check "metadata" "$scratch/expected" "$scratch/got"
