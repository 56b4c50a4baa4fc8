// Produces with kafkajs's idempotent producer until standard input ends, whatever the broker does.
// load.js BOOTSTRAP TOPIC PARTITIONS CLIENT. Values are CLIENT:NUMBER, counting up in each partition.
// Tells each record before it is sent (`sending PARTITION NUMBER`) and once it is acknowledged (`acked
// PARTITION NUMBER OFFSET`), for the checker of histories.
'use strict';

const { Kafka, Partitioners, logLevel } = require('kafkajs');

const [bootstrap, topic, partitions, client] = process.argv.slice(2);
const BURST = 5;

function tell(...words) {
  console.log(words.join(' '));
}

async function main() {
  const retry = { initialRetryTime: 30, maxRetryTime: 500, retries: 1000 };
  const kafka = new Kafka({
    clientId: 'compat', brokers: bootstrap.split(','), logLevel: logLevel.NOTHING, retry,
    requestTimeout: 5000,
  });
  const producer = kafka.producer({
    idempotent: true, maxInFlightRequests: 1, createPartitioner: Partitioners.DefaultPartitioner, retry,
  });
  await producer.connect();
  let ended = false;
  process.stdin.resume();
  process.stdin.on('end', () => { ended = true; });
  // A send to one partition is a request to one broker. Of a send to several brokers kafkajs sends all
  // again when one of them fails, those under way too, and then counts sequences wrongly.
  for (let number = 0; !ended; number += BURST) {
    for (let partition = 0; partition < Number(partitions); partition++) {
      const messages = [];
      for (let each = number; each < number + BURST; each++) {
        tell('sending', partition, each);
        messages.push({ partition, value: `${client}:${each}` });
      }
      const [{ baseOffset }] = await producer.send({ topic, acks: -1, messages });
      for (let each = 0; each < BURST; each++) {
        tell('acked', partition, number + each, BigInt(baseOffset) + BigInt(each));
      }
    }
  }
  await producer.disconnect();
}

main().catch((error) => {
  console.error(error.stack);
  process.exit(1);
});
