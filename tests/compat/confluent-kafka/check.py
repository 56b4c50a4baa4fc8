"""Exercises a broker with confluent-kafka (librdkafka); see ../README.md."""

import sys
import time
import uuid

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic, ResourceType

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
RECORDS = 500
TIMEOUT = 30.0


def check(holds, what):
    if not holds:
        sys.exit(f"FAIL {what}")


def passed(what):
    print(f"ok {what}", flush=True)


def record(codec, number, base_ms):
    """Key, value, headers and timestamp of one record, all told by its codec and number."""
    value = f"{codec}-{number}-".encode() + b"x" * (number % 700)
    headers = [("number", str(number).encode()), ("empty", b""), ("null", None)]
    return f"key-{number}".encode(), value, headers, base_ms + number * 1000


def produce(bootstrap, topic, partition, codec, base_ms):
    producer = Producer({
        "bootstrap.servers": bootstrap,
        "enable.idempotence": True,
        "compression.type": codec,
        "linger.ms": 5,
        "batch.num.messages": 70,
        "message.timeout.ms": int(TIMEOUT * 1000),
    })
    offsets, errors = [], []

    def delivered(error, message):
        errors.append(error) if error else offsets.append(message.offset())

    for number in range(RECORDS):
        key, value, headers, timestamp = record(codec, number, base_ms)
        producer.produce(topic, value, key, partition, on_delivery=delivered,
                         timestamp=timestamp, headers=headers)
        producer.poll(0)
    check(producer.flush(TIMEOUT) == 0, f"{codec}: records left undelivered")
    check(not errors, f"{codec}: delivery errors {errors[:3]}")
    check(offsets == list(range(RECORDS)), f"{codec}: offsets are not 0..{RECORDS}: {offsets[:10]}")
    passed(f"produce with idempotence, codec {codec}")


def consume(consumer, topic, partition, codec, base_ms):
    consumer.assign([TopicPartition(topic, partition, 0)])
    number, deadline = 0, time.monotonic() + TIMEOUT
    while number < RECORDS:
        check(time.monotonic() < deadline, f"{codec}: only {number} records came back")
        for message in consumer.consume(min(200, RECORDS - number), 1.0):
            check(message.error() is None, f"{codec}: {message.error()}")
            key, value, headers, timestamp = record(codec, number, base_ms)
            check(message.offset() == number, f"{codec}: offset {message.offset()}, not {number}")
            check(message.key() == key, f"{codec}: key of {number}")
            check(message.value() == value, f"{codec}: value of {number}")
            check(message.headers() == headers, f"{codec}: headers {message.headers()}")
            check(message.timestamp()[1] == timestamp, f"{codec}: timestamp of {number}")
            number += 1
    passed(f"consume by assignment, codec {codec}")


def read_by_time(consumer, topic, base_ms):
    def offsets_at(timestamp):
        asked = [TopicPartition(topic, partition, timestamp) for partition in range(len(CODECS))]
        return {found.offset for found in consumer.offsets_for_times(asked, timeout=TIMEOUT)}

    for number in (0, 77, RECORDS - 1):
        check(offsets_at(base_ms + number * 1000) == {number}, f"offset for the time of {number}")
    check(offsets_at(base_ms + 76_001) == {77}, "offset for a time between two records")
    check(offsets_at(base_ms + RECORDS * 1000) == {-1}, "offset for a time after the last record")
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=TIMEOUT)
    check((low, high) == (0, RECORDS), f"watermarks {low}..{high}")
    passed("read by time")


def administer(admin, topic):
    topics = admin.list_topics(timeout=TIMEOUT).topics
    check(len(topics[topic].partitions) == len(CODECS), "partitions in metadata")
    admin.create_partitions([NewPartitions(topic, len(CODECS) + 1)])[topic].result(TIMEOUT)
    resource = ConfigResource(ResourceType.TOPIC, topic)
    config = admin.describe_configs([resource])[resource].result(TIMEOUT)
    check(config["retention.ms"].value == "86400000", "retention.ms as created")
    cluster = admin.describe_cluster().result(TIMEOUT)
    check(len(cluster.nodes) >= 1 and cluster.cluster_id, "cluster")
    try:
        admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(TIMEOUT)
        check(False, "a topic was created twice")
    except Exception as error:
        check(error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS, f"second create: {error}")
    passed("administer")


def main():
    bootstrap = sys.argv[1]
    topic = f"compat-confluent-{uuid.uuid4().hex[:8]}"
    base_ms = int(time.time() * 1000) - 3_600_000
    admin = AdminClient({"bootstrap.servers": bootstrap})
    new = NewTopic(topic, len(CODECS), 1, config={"retention.ms": "86400000"})
    admin.create_topics([new])[topic].result(TIMEOUT)
    passed("create topic")
    administer(admin, topic)

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused",
                         "enable.auto.commit": False, "auto.offset.reset": "error"})
    for partition, codec in enumerate(CODECS):
        produce(bootstrap, topic, partition, codec, base_ms)
        consume(consumer, topic, partition, codec, base_ms)
    read_by_time(consumer, topic, base_ms)
    consumer.close()

    admin.delete_topics([topic])[topic].result(TIMEOUT)
    deadline = time.monotonic() + TIMEOUT
    while topic in admin.list_topics(timeout=TIMEOUT).topics:
        check(time.monotonic() < deadline, "the deleted topic is still listed")
    passed("delete topic")


main()
