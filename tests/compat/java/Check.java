// Exercises a broker with Apache Kafka's Java client; see ../README.md.

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public final class Check {
    private static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    private static final int RECORDS = 500;
    private static final Duration TIMEOUT = Duration.ofSeconds(30);

    private final String bootstrap;
    private final String topic = "compat-java-" + UUID.randomUUID().toString().substring(0, 8);
    private final long baseMs = System.currentTimeMillis() - 3_600_000;

    private Check(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    public static void main(String[] args) throws Exception {
        try {
            new Check(args[0]).run();
        } catch (AssertionError failure) {
            System.out.println("FAIL " + failure.getMessage());
            System.exit(1);
        }
    }

    private void run() throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
                KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            create(admin);
            for (int partition = 0; partition < CODECS.size(); partition++) {
                produce(partition);
                consume(consumer, partition);
                readByTime(consumer, admin, partition);
            }
            configure(admin);
            deleteRecords(admin, consumer);
            delete(admin);
        }
    }

    private void create(Admin admin) throws Exception {
        NewTopic created = new NewTopic(topic, CODECS.size(), (short) 1);
        created.configs(Map.of("retention.ms", "86400000"));
        await(admin.createTopics(List.of(created)).all());
        try {
            await(admin.createTopics(List.of(created)).all());
            check(false, "a topic was created twice");
        } catch (ExecutionException error) {
            check(error.getCause() instanceof TopicExistsException, "second create: " + error);
        }
        await(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(CODECS.size() + 1))).all());
        var description = await(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
        check(description.partitions().size() == CODECS.size() + 1, "partitions after growing");
        check(description.partitions().get(0).leader() != null, "a partition has no leader");
        var cluster = admin.describeCluster();
        check(!await(cluster.nodes()).isEmpty() && await(cluster.clusterId()) != null, "cluster");
        passed("create and describe topic");
    }

    private void produce(int partition) throws Exception {
        String codec = CODECS.get(partition);
        Map<String, Object> config = Map.of(
                "bootstrap.servers", bootstrap,
                "enable.idempotence", true,
                "compression.type", codec,
                "batch.size", 8_000,
                "linger.ms", 5);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (var producer = new KafkaProducer<>(
                config, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int number = 0; number < RECORDS; number++) {
                var record = new ProducerRecord<>(
                        topic, partition, timestamp(number), key(number), value(codec, number));
                record.headers().add("number", bytes(Integer.toString(number)));
                record.headers().add("null", null);
                sent.add(producer.send(record));
            }
        }
        for (int number = 0; number < RECORDS; number++) {
            check(await(sent.get(number)).offset() == number, codec + ": offset of " + number);
        }
        passed("produce with idempotence, codec " + codec);
    }

    private void consume(KafkaConsumer<byte[], byte[]> consumer, int partition) {
        String codec = CODECS.get(partition);
        consumer.assign(List.of(new TopicPartition(topic, partition)));
        consumer.seekToBeginning(consumer.assignment());
        long deadline = System.nanoTime() + TIMEOUT.toNanos();
        int number = 0;
        while (number < RECORDS) {
            check(System.nanoTime() < deadline, codec + ": only " + number + " records came back");
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                compare(codec, number++, record);
            }
        }
        passed("consume by assignment, codec " + codec);
    }

    private void compare(String codec, int number, ConsumerRecord<byte[], byte[]> record) {
        String at = codec + ", record " + number + ": ";
        check(record.offset() == number, at + "offset " + record.offset());
        check(Arrays.equals(record.key(), key(number)), at + "key");
        check(Arrays.equals(record.value(), value(codec, number)), at + "value");
        check(record.timestamp() == timestamp(number), at + "timestamp " + record.timestamp());
        Header[] headers = record.headers().toArray();
        check(headers.length == 2, at + "headers");
        check(Arrays.equals(headers[0].value(), bytes(Integer.toString(number))), at + "header");
        check(headers[1].key().equals("null") && headers[1].value() == null, at + "null header");
    }

    private void readByTime(KafkaConsumer<byte[], byte[]> consumer, Admin admin, int partition)
            throws Exception {
        var asked = new TopicPartition(topic, partition);
        for (int number : new int[] {0, 1, 77, RECORDS - 1}) {
            OffsetAndTimestamp found =
                    consumer.offsetsForTimes(Map.of(asked, timestamp(number) - 1)).get(asked);
            check(found.offset() == number, "offset before the time of " + number);
            check(found.timestamp() == timestamp(number), "timestamp found at " + number);
        }
        check(consumer.offsetsForTimes(Map.of(asked, timestamp(RECORDS))).get(asked) == null,
                "offset for a time after the last record");
        for (OffsetSpec spec : List.of(OffsetSpec.latest(), OffsetSpec.earliest(),
                OffsetSpec.maxTimestamp(), OffsetSpec.earliestLocal())) {
            long offset = await(admin.listOffsets(Map.of(asked, spec)).all()).get(asked).offset();
            long expected = spec instanceof OffsetSpec.LatestSpec ? RECORDS
                    : spec instanceof OffsetSpec.MaxTimestampSpec ? RECORDS - 1 : 0;
            check(offset == expected, spec.getClass().getSimpleName() + " is " + offset);
        }
        passed("read by time, codec " + CODECS.get(partition));
    }

    private void configure(Admin admin) throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Collection<AlterConfigOp> change = List.of(new AlterConfigOp(
                new ConfigEntry("max.message.bytes", "2000000"), AlterConfigOp.OpType.SET));
        await(admin.incrementalAlterConfigs(Map.of(resource, change)).all());
        var config = await(admin.describeConfigs(Set.of(resource)).all()).get(resource);
        check(config.get("max.message.bytes").value().equals("2000000"), "altered config");
        check(config.get("retention.ms").value().equals("86400000"), "config as created");
        check(config.get("segment.bytes").isDefault(), "an untouched config is a default");
        passed("alter and describe configs");
    }

    private void deleteRecords(Admin admin, KafkaConsumer<byte[], byte[]> consumer) throws Exception {
        var trimmed = new TopicPartition(topic, 0);
        var answer = admin.deleteRecords(Map.of(trimmed, RecordsToDelete.beforeOffset(100)));
        check(await(answer.lowWatermarks().get(trimmed)).lowWatermark() == 100, "low watermark");
        check(consumer.beginningOffsets(List.of(trimmed)).get(trimmed) == 100, "beginning offset");
        passed("delete records");
    }

    private void delete(Admin admin) throws Exception {
        await(admin.deleteTopics(List.of(topic)).all());
        long deadline = System.nanoTime() + TIMEOUT.toNanos();
        while (await(admin.listTopics().names()).contains(topic)) {
            check(System.nanoTime() < deadline, "the deleted topic is still listed");
        }
        passed("delete topic");
    }

    private KafkaConsumer<byte[], byte[]> consumer() {
        Map<String, Object> config = Map.of(
                "bootstrap.servers", bootstrap,
                "enable.auto.commit", false,
                "auto.offset.reset", "none");
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private long timestamp(int number) {
        return baseMs + number * 1000L;
    }

    private static byte[] key(int number) {
        return bytes("key-" + number);
    }

    private static byte[] value(String codec, int number) {
        return bytes(codec + "-" + number + "-" + "x".repeat(number % 700));
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static <T> T await(Future<T> future) throws Exception {
        return future.get(TIMEOUT.toSeconds(), TimeUnit.SECONDS);
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    private static void passed(String what) {
        System.out.println("ok " + what);
    }
}
