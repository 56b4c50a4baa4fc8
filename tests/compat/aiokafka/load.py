"""Produces with aiokafka's idempotent producer until standard input ends, whatever the broker does.

load.py BOOTSTRAP TOPIC PARTITIONS CLIENT. Values are CLIENT:NUMBER, counting up in each partition.
Tells each record before it is sent (`sending PARTITION NUMBER`) and once it is acknowledged (`acked
PARTITION NUMBER OFFSET`), for the checker of histories.
"""

import asyncio
import sys

from aiokafka import AIOKafkaProducer

BURST = 5
PAUSE_SECONDS = 0.005
IN_FLIGHT_MAX = 500


def tell(*words):
    print(*words, flush=True)


async def main():
    bootstrap, topic, partitions, client = sys.argv[1:]
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, linger_ms=2, retry_backoff_ms=30,
        request_timeout_ms=120_000)
    await producer.start()
    free = asyncio.Semaphore(IN_FLIGHT_MAX)
    waiting = set()

    async def wait(partition, number, sent):
        acked = await sent
        tell("acked", partition, number, acked.offset)
        free.release()

    number = 0
    while not ended.done():
        for _ in range(BURST):
            for partition in range(int(partitions)):
                await free.acquire()
                tell("sending", partition, number)
                value = f"{client}:{number}".encode()
                sent = await producer.send(topic, value, partition=partition)
                task = asyncio.create_task(wait(partition, number, sent))
                waiting.add(task)
            number += 1
        done = {task for task in waiting if task.done()}
        waiting -= done
        for task in done:
            task.result()
        await asyncio.sleep(PAUSE_SECONDS)
    await asyncio.gather(*waiting)
    await producer.stop()


asyncio.run(main())
