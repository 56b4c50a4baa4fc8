// A member of a group, with kafkajs; see ../README.md for what it prints.
// group.js BOOTSTRAP TOPIC GROUP
'use strict';

const { Kafka, logLevel } = require('kafkajs');

const [bootstrap, topic, groupId] = process.argv.slice(2);

function tell(...words) {
  console.log(words.join(' '));
}

async function main() {
  const retry = { initialRetryTime: 50, maxRetryTime: 500, retries: 100 };
  const kafka = new Kafka({
    clientId: 'compat', brokers: bootstrap.split(','), logLevel: logLevel.NOTHING, retry,
  });
  const consumer = kafka.consumer({
    groupId, sessionTimeout: 10_000, heartbeatInterval: 500, maxWaitTimeInMs: 200, retry,
  });
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    tell('crashed', payload.error, payload.restart);
  });
  consumer.on(consumer.events.REBALANCING, () => tell('assigned'));
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    tell('assigned', ...(payload.memberAssignment[topic] || []).sort((a, b) => a - b));
  });
  consumer.on(consumer.events.COMMIT_OFFSETS, ({ payload }) => {
    for (const { partitions } of payload.topics) {
      partitions.forEach(({ partition, offset }) => tell('committed', partition, offset));
    }
  });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    eachBatch: async ({ batch, resolveOffset, heartbeat }) => {
      for (const { offset, value } of batch.messages) {
        tell('got', batch.partition, offset, value);
        resolveOffset(offset);
      }
      await heartbeat();
      const offset = String(BigInt(batch.lastOffset()) + 1n);
      try {
        await consumer.commitOffsets([{ topic, partition: batch.partition, offset }]);
      } catch (error) {
        // A rebalance has ended the generation: left alone, the error would end the consumer for good.
        tell('uncommitted', error.message);
      }
    },
  });
  process.stdin.resume();
  process.stdin.on('end', async () => {
    await consumer.disconnect();
    tell('left');
  });
}

main().catch((error) => {
  console.log(`FAIL ${error.stack}`);
  process.exit(1);
});
