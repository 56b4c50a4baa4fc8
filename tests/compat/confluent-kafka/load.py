"""Loads a broker that is killed meanwhile, with confluent-kafka (librdkafka); see ../README.md.

load.py produce BOOTSTRAP TOPIC PARTITIONS CLIENT   until standard input says so, then flushes
load.py read    BOOTSTRAP TOPIC PARTITIONS          until standard input says so
"""

import select
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

IN_FLIGHT_MAX = 400
BURST = 5
# A broker that comes back within milliseconds is looked for as often.
IMPATIENT = {"reconnect.backoff.ms": 5, "reconnect.backoff.max.ms": 20, "retry.backoff.ms": 5}


def stopped():
    return bool(select.select([sys.stdin], [], [], 0)[0])


def produce(bootstrap, topic, partitions, client):
    producer = Producer({
        **IMPATIENT,
        "bootstrap.servers": bootstrap,
        "enable.idempotence": True,
        "linger.ms": 1,
        "compression.type": "lz4",
        "message.timeout.ms": 240_000,
        "error_cb": lambda error: None,
    })
    numbers = [0] * partitions
    lines = []

    def delivered(error, message):
        if error:
            lines.append(f"failed {message.value().decode()} {error}")
        else:
            lines.append(f"acked {message.partition()} {message.value().decode()} {message.offset()}")

    def tell():
        if lines:
            print("\n".join(lines), flush=True)
            lines.clear()

    while not stopped():
        for partition in range(partitions):
            for _ in range(BURST):
                value = f"{client}:{numbers[partition]}"
                numbers[partition] += 1
                lines.append(f"sent {partition} {value}")
                producer.produce(topic, value, partition=partition, on_delivery=delivered)
        tell()
        producer.poll(0.002)
        while len(producer) > IN_FLIGHT_MAX:
            producer.poll(0.01)
        tell()
    left = producer.flush(120)
    tell()
    if left:
        sys.exit(f"{left} records undelivered")


def read(bootstrap, topic, partitions):
    consumer = Consumer({
        **IMPATIENT,
        "bootstrap.servers": bootstrap,
        "group.id": "unused",
        "enable.auto.commit": False,
        # A position that the broker no longer knows is a record lost: it must not be papered over.
        "auto.offset.reset": "error",
        "fetch.wait.max.ms": 50,
        "error_cb": lambda error: None,
    })
    assigned = [TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)]
    consumer.assign(assigned)
    ends = {}
    while not stopped():
        lines = []
        for message in consumer.consume(500, 0.1):
            error = message.error()
            if error and error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise KafkaException(error)
            if not error:
                lines.append(f"shown {message.partition()} {message.offset()} {message.value().decode()}")
        for partition in assigned:
            end = consumer.get_watermark_offsets(partition, cached=True)[1]
            if end >= 0 and ends.get(partition.partition) != end:
                ends[partition.partition] = end
                lines.append(f"end {partition.partition} {end}")
        if lines:
            print("\n".join(lines), flush=True)
    consumer.close()


if __name__ == "__main__":
    role, bootstrap, topic, partitions = sys.argv[1:5]
    if role == "produce":
        produce(bootstrap, topic, int(partitions), sys.argv[5])
    else:
        read(bootstrap, topic, int(partitions))
