"""A member of a group, with aiokafka; see ../README.md for what it prints.

group.py BOOTSTRAP TOPIC GROUP
"""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.errors import KafkaError


def tell(*words):
    print(*words, flush=True)


class Listener(ConsumerRebalanceListener):
    async def on_partitions_revoked(self, revoked):
        tell("assigned")

    async def on_partitions_assigned(self, assigned):
        tell("assigned", *sorted(each.partition for each in assigned))


async def main():
    bootstrap, topic, group = sys.argv[1:]
    loop = asyncio.get_running_loop()
    ended = loop.run_in_executor(None, sys.stdin.read)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False,
        auto_offset_reset="earliest", session_timeout_ms=10_000, heartbeat_interval_ms=500,
        retry_backoff_ms=50)
    consumer.subscribe([topic], listener=Listener())
    await consumer.start()
    while not ended.done():
        batches = await consumer.getmany(timeout_ms=100, max_records=100)
        offsets = {}
        for partition, messages in batches.items():
            for message in messages:
                tell("got", partition.partition, message.offset, message.value.decode())
                offsets[partition] = message.offset + 1
        if offsets:
            try:
                await consumer.commit(offsets)
            except KafkaError as error:
                tell("uncommitted", error)
            else:
                for partition, offset in offsets.items():
                    tell("committed", partition.partition, offset)
    await consumer.stop()
    tell("left")


asyncio.run(main())
