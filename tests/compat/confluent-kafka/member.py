"""Consumes a topic as a member of a group until standard input ends, whatever the broker does, and leaves.

member.py BOOTSTRAP TOPIC GROUP classic|consumer. Commits what it has polled and tells what happened, as
`franz-go/member` does; librdkafka does not tell the generation, for which -1 stands.
"""

import sys
import threading
import time

from confluent_kafka import Consumer, KafkaException, TopicPartition


def tell(*words):
    print(*words, flush=True)


def main():
    bootstrap, topic, group, protocol = sys.argv[1:]
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "group.protocol": protocol,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "fetch.wait.max.ms": 200,
        "reconnect.backoff.ms": 20,
        "reconnect.backoff.max.ms": 200,
        "retry.backoff.ms": 20,
        "retry.backoff.max.ms": 200,
        "log_level": 0,
    }
    if protocol == "classic":
        settings |= {
            "session.timeout.ms": 10000,
            "heartbeat.interval.ms": 200,
            "partition.assignment.strategy": "range",
        }
    consumer = Consumer(settings)
    fresh = set()

    def assigned(_, partitions):
        for each in partitions:
            fresh.add(each.partition)
            tell("assigned", time.time_ns(), -1, each.partition)

    def revoked(_, partitions):
        for each in partitions:
            tell("given", time.time_ns(), each.partition)

    def lost(_, partitions):
        for each in partitions:
            tell("lost", time.time_ns(), each.partition)

    consumer.subscribe([topic], on_assign=assigned, on_revoke=revoked, on_lost=lost)
    while not ended.is_set():
        nexts = {}
        for message in consumer.consume(200, 0.2):
            if message.error():
                continue
            partition, offset = message.partition(), message.offset()
            if partition in fresh:
                fresh.discard(partition)
                tell("first", time.time_ns(), partition, offset)
            nexts[partition] = offset + 1
        commit(consumer, topic, nexts)
    consumer.close()


def commit(consumer, topic, nexts):
    """One that is refused or lost is made up for by the next."""
    if not nexts:
        return
    for partition, offset in nexts.items():
        tell("committing", time.time_ns(), partition, offset)
    wanted = [TopicPartition(topic, partition, offset) for partition, offset in nexts.items()]
    try:
        committed = consumer.commit(offsets=wanted, asynchronous=False)
    except KafkaException:
        return
    for each in committed:
        if not each.error:
            tell("committed", time.time_ns(), each.partition, each.offset)


try:
    main()
except KafkaException as error:
    sys.exit(str(error))
