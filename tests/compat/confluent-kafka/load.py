"""Produces with librdkafka's idempotent producer until standard input ends, whatever the broker does.

load.py BOOTSTRAP TOPIC PARTITIONS CLIENT. Values are CLIENT:NUMBER, counting up in each partition.
Tells each record before it is sent (`sending PARTITION NUMBER`) and once it is acknowledged (`acked
PARTITION NUMBER OFFSET`), for the checker of histories.
"""

import sys
import threading
import time

from confluent_kafka import KafkaException, Producer

BURST = 10
PAUSE_SECONDS = 0.005


def main():
    bootstrap, topic, partitions, client = sys.argv[1:]
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    fatal = []
    producer = Producer({
        "bootstrap.servers": bootstrap,
        "enable.idempotence": True,
        "linger.ms": 2,
        "message.timeout.ms": 0,
        "reconnect.backoff.ms": 20,
        "reconnect.backoff.max.ms": 200,
        "retry.backoff.ms": 20,
        "retry.backoff.max.ms": 200,
        "error_cb": lambda error: fatal.append(error) if error.fatal() else None,
        "log_level": 0,
    })

    def delivered(number):
        def report(error, message):
            if error:
                fatal.append(error)
            else:
                print("acked", message.partition(), number, message.offset())
        return report

    number = 0
    while not ended.is_set() and not fatal:
        for _ in range(BURST):
            for partition in range(int(partitions)):
                print("sending", partition, number)
                producer.produce(topic, f"{client}:{number}", partition=partition,
                                 on_delivery=delivered(number))
            number += 1
        producer.poll(0)
        while len(producer) > 1000 and not ended.is_set():
            producer.poll(0.05)
        sys.stdout.flush()
        time.sleep(PAUSE_SECONDS)
    left = producer.flush(60)
    sys.stdout.flush()
    if left or fatal:
        sys.exit(f"{left} records left, errors {fatal[:3]}")


try:
    main()
except KafkaException as error:
    sys.exit(str(error))
