// Writes group_records.hex beside it: what Apache Kafka wrote to `__consumer_offsets` while the groups
// below lived, by key and value, in the order of the log. Against a fresh node of 4.3.1, which
// `tests/compat/java/start-kafka DIR PORT group.initial.rebalance.delay.ms=0` starts:
//
//   java -cp 'LIBS/*' GroupRecords.java 127.0.0.1:PORT . 2>/dev/null
//
// LIBS holds the jars that `tests/compat/install` brings.

import java.io.DataInputStream;
import java.io.PrintWriter;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.message.OffsetCommitRequestData;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

class GroupRecords {
    static final TopicPartition ZERO = new TopicPartition("orders", 0);
    static final TopicPartition ONE = new TopicPartition("orders", 1);

    static String bootstrap;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(
                new NewTopic("orders", 2, (short) 1),
                new NewTopic("invoices", 1, (short) 1))).all().get();
            classicGroup(admin);
            commitWithExpiry();
            consumerGroup(admin);
            mixedGroup();
        }
        try (PrintWriter out = new PrintWriter(Path.of(args[1], "group_records.hex").toFile())) {
            out.println("# key and value of each record; - for a tombstone");
            records(out);
        }
    }

    /** A static and a dynamic member, commits with and without metadata, then all of it deleted. */
    static void classicGroup(Admin admin) throws Exception {
        var fixed = consumer("classic", "classic", Map.of("group.instance.id", "till-1"));
        var loose = consumer("classic", "classic", Map.of("client.rack", "shelf"));
        fixed.subscribe(List.of("orders"));
        loose.subscribe(List.of("orders", "invoices"));
        while (fixed.assignment().isEmpty() || loose.assignment().isEmpty()) poll(fixed, loose);
        for (var each : List.of(fixed, loose)) {
            var offsets = new HashMap<TopicPartition, OffsetAndMetadata>();
            each.assignment().forEach(part -> offsets.put(part, new OffsetAndMetadata(7, "über 7")));
            each.commitSync(offsets);
        }
        loose.close();
        fixed.close();
        admin.removeMembersFromConsumerGroup("classic",
            new org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions()).all().get();
        admin.deleteConsumerGroupOffsets("classic", Set.of(ZERO)).all().get();
        admin.deleteConsumerGroups(List.of("classic")).all().get();
    }

    /** OffsetCommit in version 2 says how long the offset is to be kept. */
    static void commitWithExpiry() throws Exception {
        var partition = new OffsetCommitRequestData.OffsetCommitRequestPartition()
            .setPartitionIndex(1).setCommittedOffset(12).setCommittedMetadata("kept for a day");
        var topic = new OffsetCommitRequestData.OffsetCommitRequestTopic()
            .setName("orders").setPartitions(List.of(partition));
        var request = new OffsetCommitRequestData().setGroupId("expiring")
            .setRetentionTimeMs(86_400_000).setTopics(List.of(topic));
        var header = new RequestHeaderData().setRequestApiKey((short) 8)
            .setRequestApiVersion((short) 2).setCorrelationId(1).setClientId("old");
        ByteBuffer head = MessageUtil.toByteBufferAccessor(header, (short) 1).buffer();
        ByteBuffer body = MessageUtil.toByteBufferAccessor(request, (short) 2).buffer();
        String[] address = bootstrap.split(":");
        try (Socket socket = new Socket(address[0], Integer.parseInt(address[1]))) {
            ByteBuffer frame = ByteBuffer.allocate(4 + head.remaining() + body.remaining());
            frame.putInt(head.remaining() + body.remaining()).put(head).put(body);
            socket.getOutputStream().write(frame.array());
            new DataInputStream(socket.getInputStream()).readInt();
        }
    }

    /** KIP-848: a static member by name, one by expression that gives a partition up, both leave. */
    static void consumerGroup(Admin admin) throws Exception {
        var named = consumer("modern", "consumer",
            Map.of("group.instance.id", "till-2", "group.remote.assignor", "range"));
        named.subscribe(List.of("orders"));
        while (named.assignment().size() < 2) poll(named);
        named.commitSync(Map.of(ZERO, new OffsetAndMetadata(3)));
        var matching = consumer("modern", "consumer", Map.of("client.rack", "shelf"));
        matching.subscribe(new SubscriptionPattern("or.*|inv.*"));
        while (matching.assignment().size() < 2 || named.assignment().size() > 1) {
            poll(named, matching);
        }
        matching.close();
        named.close();
        admin.removeMembersFromConsumerGroup("modern",
            new org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions()).all().get();
        admin.deleteConsumerGroups(List.of("modern")).all().get();
    }

    /** A member that speaks the classic protocol stays in a group that others make a modern one. */
    static void mixedGroup() {
        var old = consumer("mixed", "classic", Map.of("partition.assignment.strategy",
            "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"));
        old.subscribe(List.of("orders"));
        while (old.assignment().size() < 2) poll(old);
        var young = consumer("mixed", "consumer", Map.of());
        young.subscribe(List.of("orders"));
        while (young.assignment().isEmpty() || old.assignment().size() > 1) poll(old, young);
        young.close();
        old.close();
    }

    static KafkaConsumer<byte[], byte[]> consumer(String group, String protocol, Map<String, Object> more) {
        var config = new HashMap<String, Object>(more);
        config.put("bootstrap.servers", bootstrap);
        config.put("client.id", "fixture");
        config.put("enable.auto.commit", false);
        if (group != null) {
            config.put("group.id", group);
            config.put("group.protocol", protocol);
            if (protocol.equals("classic")) config.put("heartbeat.interval.ms", 200);
        }
        var bytes = new ByteArrayDeserializer();
        return new KafkaConsumer<>(config, bytes, bytes);
    }

    @SafeVarargs
    static void poll(KafkaConsumer<byte[], byte[]>... consumers) {
        for (var each : consumers) each.poll(Duration.ofMillis(100));
    }

    static void records(PrintWriter out) {
        try (var reader = consumer(null, null, Map.of())) {
            var all = reader.partitionsFor("__consumer_offsets").stream()
                .map(info -> new TopicPartition(info.topic(), info.partition())).toList();
            reader.assign(all);
            for (TopicPartition each : all) {
                reader.assign(List.of(each));
                reader.seekToBeginning(List.of(each));
                long end = reader.endOffsets(List.of(each)).get(each);
                while (reader.position(each) < end) {
                    for (ConsumerRecord<byte[], byte[]> record : reader.poll(Duration.ofMillis(100))) {
                        out.println(hex(record.key()) + " " + hex(record.value()));
                    }
                }
            }
        }
    }

    static String hex(byte[] bytes) {
        return bytes == null ? "-" : HexFormat.of().formatHex(bytes);
    }
}
