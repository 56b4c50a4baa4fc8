// Exercises a broker with kafkajs; see ../README.md. kafkajs consumes in consumer groups only, so
// what it produced is written to the file of the second argument, as `partition|key|value` lines,
// for another client to compare.
'use strict';

const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const fs = require('node:fs');
const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = require('kafkajs');
const snappy = require('kafkajs-snappy');
const lz4 = require('lz4-napi');
const { ZstdCodec } = require('zstd-codec');

const RECORDS = 300;
const BATCHES = 6;
const [bootstrap, manifest, topic = `compat-kafkajs-${crypto.randomBytes(4).toString('hex')}`] =
  process.argv.slice(2);
const baseMs = Date.now() - 3_600_000;
const CODECS = ['None', 'GZIP', 'Snappy', 'LZ4', 'ZSTD'];

function passed(what) {
  console.log(`ok ${what}`);
}

async function registerCodecs() {
  const zstd = await new Promise((done) => ZstdCodec.run((z) => done(new z.Simple())));
  CompressionCodecs[CompressionTypes.Snappy] = snappy;
  CompressionCodecs[CompressionTypes.LZ4] = () => ({
    compress: async (encoder) => lz4.compressFrame(encoder.buffer),
    decompress: async (bytes) => lz4.decompressFrame(bytes),
  });
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: async (encoder) => Buffer.from(zstd.compress(encoder.buffer)),
    decompress: async (bytes) => Buffer.from(zstd.decompress(bytes)),
  });
}

function record(partition, number) {
  return {
    partition,
    key: `key-${number}`,
    value: `${CODECS[partition]}-${number}-${'x'.repeat(number % 300)}`,
    headers: { number: String(number) },
    timestamp: String(baseMs + number * 1000),
  };
}

async function produce(kafka, partition) {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  for (let batch = 0; batch < BATCHES; batch++) {
    const size = RECORDS / BATCHES;
    const messages = Array.from({ length: size }, (_, i) => record(partition, batch * size + i));
    const [answer] = await producer.send({
      topic,
      acks: -1,
      compression: CompressionTypes[CODECS[partition]],
      messages,
    });
    assert.equal(answer.errorCode, 0);
    assert.equal(answer.baseOffset, String(batch * size), 'base offset');
    for (const { key, value } of messages) {
      fs.appendFileSync(manifest, `${partition}|${key}|${value}\n`);
    }
  }
  await producer.disconnect();
  passed(`produce with idempotence, codec ${CODECS[partition]}`);
}

async function readByTime(admin) {
  for (const number of [0, 1, 77, RECORDS - 1]) {
    const found = await admin.fetchTopicOffsetsByTimestamp(topic, baseMs + number * 1000);
    for (const { partition, offset } of found.filter(({ partition }) => partition < CODECS.length)) {
      assert.equal(offset, String(number), `offset of ${partition} for the time of ${number}`);
    }
  }
  const ends = await admin.fetchTopicOffsets(topic);
  assert.ok(ends.filter(({ partition }) => partition < CODECS.length)
    .every(({ low, high }) => low === '0' && high === String(RECORDS)), 'low and high offsets');
  passed('read by time');
}

async function administer(admin) {
  const configEntries = [{ name: 'retention.ms', value: '86400000' }];
  const created = { topic, numPartitions: CODECS.length, replicationFactor: 1, configEntries };
  assert.equal(await admin.createTopics({ topics: [created], waitForLeaders: true }), true);
  assert.equal(await admin.createTopics({ topics: [created] }), false, 'created twice');
  const topicPartitions = [{ topic, count: CODECS.length + 1 }];
  await admin.createPartitions({ topicPartitions });
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
  assert.equal(topics[0].partitions.length, CODECS.length + 1);
  const { resources } = await admin.describeConfigs({ resources: [{ type: 2, name: topic }] });
  const retention = resources[0].configEntries.find((entry) => entry.configName === 'retention.ms');
  assert.equal(retention.configValue, '86400000');
  assert.ok((await admin.describeCluster()).brokers.length >= 1);
  passed('create, grow and describe topic');
}

async function main() {
  await registerCodecs();
  const kafka = new Kafka({
    clientId: 'compat', brokers: [bootstrap], logLevel: logLevel.NOTHING,
  });
  const admin = kafka.admin();
  await admin.connect();
  fs.writeFileSync(manifest, '');
  await administer(admin);
  for (let partition = 0; partition < CODECS.length; partition++) {
    await produce(kafka, partition);
  }
  await readByTime(admin);

  const scratch = `${topic}-scratch`;
  await admin.createTopics({ topics: [{ topic: scratch }] });
  await admin.deleteTopics({ topics: [scratch] });
  while ((await admin.listTopics()).includes(scratch)) {
    // Deletion is asynchronous in some brokers; whoever runs this program sets the time limit.
  }
  passed('delete topic');
  await admin.disconnect();
}

main().catch((error) => {
  console.log(`FAIL ${error.stack}`);
  process.exit(1);
});
