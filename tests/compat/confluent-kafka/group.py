"""A member of a group, with confluent-kafka (librdkafka); see ../README.md for what it prints.

group.py BOOTSTRAP TOPIC GROUP [classic|consumer]
"""

import sys
import threading

from confluent_kafka import Consumer, KafkaException


def tell(*words):
    print(*words, flush=True)


def main():
    bootstrap, topic, group, protocol = [*sys.argv[1:], "classic"][:4]
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    config = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "group.protocol": protocol,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "reconnect.backoff.max.ms": 200,
        "log_level": 0,
    }
    if protocol == "classic":
        config |= {"session.timeout.ms": 10_000, "heartbeat.interval.ms": 500}
    consumer = Consumer(config)

    # The assignors of the classic protocol that are on by default give and take everything at once.
    def assigned(_, partitions):
        consumer.assign(partitions)
        tell("assigned", *sorted(each.partition for each in partitions))

    def revoked(_, __):
        consumer.unassign()
        tell("assigned")

    # The next-generation protocol is incremental, which librdkafka does by itself.
    callbacks = {"on_assign": assigned, "on_revoke": revoked} if protocol == "classic" else {}
    consumer.subscribe([topic], **callbacks)
    known = None
    while not ended.is_set():
        messages = [each for each in consumer.consume(100, 0.1) if not each.error()]
        if protocol == "consumer":
            now = sorted(each.partition for each in consumer.assignment())
            if now != known:
                known = now
                tell("assigned", *now)
        for message in messages:
            tell("got", message.partition(), message.offset(), message.value().decode())
        if messages:
            try:
                for done in consumer.commit(asynchronous=False):
                    # Of partitions that have nothing new it is told too, with a negative offset.
                    if not done.error and done.offset >= 0:
                        tell("committed", done.partition, done.offset)
            except KafkaException as error:
                tell("uncommitted", error)
    consumer.close()
    tell("left")


main()
