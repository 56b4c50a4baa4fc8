# All commands in one place; `just --list` shows them. CI needs none of this: it runs `.ci/run`.

set positional-arguments

# Run the broker; arguments go to it.
run *arguments:
    cargo run --release -- "$@"

# The checks that only read.
verify:
    .ci/verify

# Write what a machine can mend.
fix:
    cargo fmt --all
    cargo clippy --fix --allow-dirty --allow-staged --workspace --all-targets

# Install the real clients and pass all tests.
test:
    tests/run

# What must pass before a change lands.
ci:
    .ci/run

# Client programs and Kafka's tools only.
compat:
    tests/compat/install
    cargo build --release --locked --bin millpond
    cargo test --release --locked -p millpond-tests --test it -- clients tools shipper

# A suite that a client's authors wrote, compared with its table: `just suite kgo`, `just suite kgo --kafka --write`.
suite *arguments:
    tests/compat/install
    tests/suites/install
    cargo build --release --locked --workspace --bins
    target/release/suites "$@"
# Apache Kafka's command-line tools, compared with what is kept of them; `kafka` keeps it anew.
tools broker="millpond":
    tests/suites/tools/run {{broker}}

# The black-box tests of one theme against Apache Kafka, which is what they are proven with.
against-kafka theme port="19092":
    MILLPOND_TEST_BOOTSTRAP=127.0.0.1:{{port}} cargo test --release -p millpond-tests --test it -- {{theme}}

# Start one Apache Kafka node for that.
kafka dir port="19092":
    tests/compat/java/start-kafka {{dir}} {{port}}

# Write anew which settings Apache Kafka describes; tests/configs/README.md.
kafka-configs:
    tests/configs/refresh

# Kill the broker under load of two client families; a failed run prints the seed that repeats it.
kills count="1000":
    cargo build --release --locked --bin millpond
    MILLPOND_TEST_KILLS={{count}} cargo test --release -p millpond-tests --test it -- crash:: --nocapture

# Kill the broker while members of four groups come, go and commit.
group-kills count="100":
    cargo build --release --locked --bin millpond
    MILLPOND_TEST_KILLS={{count}} cargo test --release -p millpond-tests --test it -- group_crash:: --nocapture

# Strike three nodes under load of three client families: kills, freezes, stops, networks cut and slow.
cluster-faults count="200":
    cargo build --release --locked --bin millpond
    MILLPOND_TEST_FAULTS={{count}} cargo test --release -p millpond-tests --test it -- cluster_crash:: --nocapture

# How long a producer stands still when a leader is killed, stopped or frozen; Kafka with three nodes beside it.
failover *arguments:
    cargo build --release --locked --workspace --bins
    target/release/failover "$@"

# What replication costs: loads on three nodes of Kafka and of Millpond, many idle partitions, a restart.
replicated *arguments:
    cargo build --release --locked --workspace --bins
    target/release/replicated "$@"

# Hostile requests and batches for this many seconds each; a failed run prints the seed that repeats it.
fuzz seconds="60":
    MILLPOND_FUZZ_SECONDS={{seconds}} cargo test --release --locked -p millpond-protocol --test hostile -- --nocapture

# Crash logs by this many seeds: lost power, kills, failed calls, full disks.
crashes seeds="1000":
    MILLPOND_SEEDS={{seeds}} cargo test --release --locked -p millpond-storage -- --nocapture

# How long starts take and what memory an idle broker holds, with this many gigabytes of data.
starts gigabytes="20" partitions="4" repeats="5":
    cargo build --release --locked --workspace --bins
    target/release/start_times {{gigabytes}} {{partitions}} {{repeats}}

# Apache Kafka and Millpond under the same loads; all rows take more than an hour. See tests/benchmarks.md.
compare *arguments:
    cargo build --release --locked --workspace --bins
    target/release/compare "$@"

# Two commits under the same loads, interleaved: `just compare-commits main HEAD produce-16k`.
compare-commits before after *arguments:
    cargo build --release --locked --workspace --bins
    target/release/compare_commits "$@"
