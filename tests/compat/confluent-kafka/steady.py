"""Produces one small record every few milliseconds with librdkafka's idempotent producer, acks=all, and
tells when each was acknowledged: how long a producer stands still when a broker goes.

steady.py BOOTSTRAP TOPIC PARTITION INTERVAL_MS [NAME=VALUE...]. Prints `acked NANOSECONDS` of the
monotonic clock, a line for each record, until standard input ends. Further words are librdkafka's settings.
"""

import sys
import threading
import time

from confluent_kafka import Producer


def main():
    bootstrap, topic, partition, interval_ms = sys.argv[1:5]
    interval = float(interval_ms) / 1000
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    failed = []
    settings = {"bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all", "linger.ms": 0,
                "message.timeout.ms": 0, "log_level": 0}
    settings.update(word.split("=", 1) for word in sys.argv[5:])
    producer = Producer(settings)

    def report(error, _message):
        if error:
            failed.append(error)
        else:
            print("acked", time.monotonic_ns(), flush=True)

    next_at = time.monotonic()
    while not ended.is_set() and not failed:
        producer.produce(topic, b"x" * 100, partition=int(partition), on_delivery=report)
        next_at = max(next_at + interval, time.monotonic() - 1)
        while (left := next_at - time.monotonic()) > 0:
            producer.poll(left)
        producer.poll(0)
    producer.flush(60)
    if failed:
        sys.exit(str(failed[0]))


main()
