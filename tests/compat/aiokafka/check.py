"""Exercises a broker with aiokafka; see ../README.md."""

import asyncio
import sys
import time
import uuid

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import TopicAlreadyExistsError

CODECS = [None, "gzip", "snappy", "lz4", "zstd"]
RECORDS = 300
TIMEOUT = 30.0


def check(holds, what):
    if not holds:
        sys.exit(f"FAIL {what}")


def passed(what):
    print(f"ok {what}", flush=True)


def record(codec, number, base_ms):
    """Key, value, headers and timestamp of one record, all told by its codec and number."""
    value = f"{codec}-{number}-".encode() + b"x" * (number % 700)
    headers = (("number", str(number).encode()), ("empty", b""))
    return f"key-{number}".encode(), value, headers, base_ms + number * 1000


async def produce(bootstrap, topic, partition, codec, base_ms):
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True,
                                compression_type=codec, linger_ms=5) as producer:
        deliveries = []
        for number in range(RECORDS):
            key, value, headers, timestamp = record(codec, number, base_ms)
            deliveries.append(await producer.send(
                topic, value, key, partition, timestamp_ms=timestamp, headers=list(headers)))
        done = await asyncio.wait_for(asyncio.gather(*deliveries), TIMEOUT)
    offsets = [delivery.offset for delivery in done]
    check(offsets == list(range(RECORDS)), f"{codec}: offsets are not 0..{RECORDS}: {offsets[:10]}")
    passed(f"produce with idempotence, codec {codec}")


async def consume(consumer, topic, partition, codec, base_ms):
    assigned = TopicPartition(topic, partition)
    consumer.assign([assigned])
    await consumer.seek_to_beginning(assigned)
    for number in range(RECORDS):
        message = await asyncio.wait_for(consumer.getone(assigned), TIMEOUT)
        key, value, headers, timestamp = record(codec, number, base_ms)
        check(message.offset == number, f"{codec}: offset {message.offset}, not {number}")
        check(message.key == key, f"{codec}: key of {number}")
        check(message.value == value, f"{codec}: value of {number}")
        check(message.headers == headers, f"{codec}: headers {message.headers}")
        check(message.timestamp == timestamp, f"{codec}: timestamp of {number}")
    passed(f"consume by assignment, codec {codec}")


async def read_by_time(consumer, topic, partition, base_ms):
    asked = TopicPartition(topic, partition)

    async def offset_at(timestamp):
        found = (await consumer.offsets_for_times({asked: timestamp}))[asked]
        return found and (found.offset, found.timestamp)

    for number in (0, 1, 77, RECORDS - 1):
        timestamp = base_ms + number * 1000
        check(await offset_at(timestamp) == (number, timestamp), f"offset for the time of {number}")
    check(await offset_at(base_ms + 76_001) == (77, base_ms + 77_000), "a time between records")
    check(await offset_at(base_ms + RECORDS * 1000) is None, "a time after the last record")
    check((await consumer.beginning_offsets([asked]))[asked] == 0, "beginning offset")
    check((await consumer.end_offsets([asked]))[asked] == RECORDS, "end offset")
    passed("read by time")


async def main():
    bootstrap = sys.argv[1]
    topic = f"compat-aiokafka-{uuid.uuid4().hex[:8]}"
    base_ms = int(time.time() * 1000) - 3_600_000
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, len(CODECS), 1)])
    try:
        answer = await admin.create_topics([NewTopic(topic, 1, 1)])
        check(answer.topic_errors[0][1] == TopicAlreadyExistsError.errno, "created twice")
    except TopicAlreadyExistsError:
        pass
    await admin.create_partitions({topic: NewPartitions(total_count=len(CODECS) + 1)})
    passed("create topic and partitions")

    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False,
                                auto_offset_reset="none")
    await consumer.start()
    for partition, codec in enumerate(CODECS):
        await produce(bootstrap, topic, partition, codec, base_ms)
        await consume(consumer, topic, partition, codec, base_ms)
        await read_by_time(consumer, topic, partition, base_ms)
    await consumer.stop()

    await admin.delete_topics([topic])
    deadline = time.monotonic() + TIMEOUT
    while topic in await admin.list_topics():
        check(time.monotonic() < deadline, "the deleted topic is still listed")
    await admin.close()
    passed("delete topic")


asyncio.run(main())
