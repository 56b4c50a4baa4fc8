// Writes the golden files beside it with Apache Kafka's own encoders, from Kafka's own schemas:
//
//   java -cp 'LIBS/*' Generate.java .
//
// LIBS holds kafka-clients 4.3.1 with the versions of slf4j-api, lz4-java, snappy-java and zstd-jni
// that it depends on.

import java.io.PrintWriter;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.List;
import java.util.TreeMap;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.DescribeLogDirsResponseData;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.message.ListOffsetsResponseData;
import org.apache.kafka.common.message.OffsetCommitResponseData;
import org.apache.kafka.common.message.OffsetFetchResponseData;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.Struct;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.SimpleRecord;

class Generate {
    static final short[] SERVED =
        {0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23, 32, 33, 34, 35, 37, 42,
            43, 44, 45, 46, 47, 55, 57, 60, 61, 64, 65, 66, 68, 69, 71, 72, 74, 75};

    public static void main(String[] args) throws Exception {
        Path dir = Path.of(args[0]);
        try (PrintWriter out = new PrintWriter(dir.resolve("requests.hex").toFile())) {
            out.println("# API key, version, what is filled, frame without its length prefix");
            for (short key : SERVED) requests(ApiMessageType.fromApiKey(key), out);
        }
        try (PrintWriter out = new PrintWriter(dir.resolve("batches.hex").toFile())) {
            out.println("# codec, whole batch");
            for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) batch(codec, out);
        }
        try (PrintWriter out = new PrintWriter(dir.resolve("fetch_responses.hex").toFile())) {
            out.println("# version, body");
            for (short version = 4; version <= 18; version++) fetchResponse(version, out);
        }
        try (PrintWriter out = new PrintWriter(dir.resolve("newer_responses.hex").toFile())) {
            out.println("# API key, version, body");
            newerResponses(out);
        }
    }

    /** Versions that the codec crate lacks: an answer of each, with two of everything. */
    static void newerResponses(PrintWriter out) {
        var listed = new ListOffsetsResponseData.ListOffsetsPartitionResponse()
            .setPartitionIndex(1).setErrorCode((short) 6).setTimestamp(1000).setOffset(77)
            .setLeaderEpoch(3);
        var listedTopic = new ListOffsetsResponseData.ListOffsetsTopicResponse()
            .setName("topic").setPartitions(List.of(listed, listed.duplicate()));
        response(2, 11, out, new ListOffsetsResponseData().setThrottleTimeMs(5)
            .setTopics(List.of(listedTopic, listedTopic.duplicate())));

        var commit = new OffsetCommitResponseData.OffsetCommitResponsePartition()
            .setPartitionIndex(1).setErrorCode((short) 12);
        var commitTopic = new OffsetCommitResponseData.OffsetCommitResponseTopic()
            .setTopicId(new Uuid(7, 8)).setPartitions(List.of(commit, commit.duplicate()));
        response(8, 10, out, new OffsetCommitResponseData().setThrottleTimeMs(5)
            .setTopics(List.of(commitTopic, commitTopic.duplicate())));

        var noted = new OffsetFetchResponseData.OffsetFetchResponsePartitions()
            .setPartitionIndex(1).setCommittedOffset(1000).setCommittedLeaderEpoch(3)
            .setMetadata("note").setErrorCode((short) 88);
        var bare = new OffsetFetchResponseData.OffsetFetchResponsePartitions()
            .setPartitionIndex(2).setCommittedOffset(-1).setMetadata(null);
        var fetchTopic = new OffsetFetchResponseData.OffsetFetchResponseTopics()
            .setTopicId(new Uuid(7, 8)).setPartitions(List.of(noted, bare));
        var fetchGroup = new OffsetFetchResponseData.OffsetFetchResponseGroup()
            .setGroupId("group").setErrorCode((short) 15)
            .setTopics(List.of(fetchTopic, fetchTopic.duplicate()));
        response(9, 10, out, new OffsetFetchResponseData().setThrottleTimeMs(5)
            .setGroups(List.of(fetchGroup, fetchGroup.duplicate())));

        var held = new DescribeLogDirsResponseData.DescribeLogDirsPartition()
            .setPartitionIndex(1).setPartitionSize(1000).setOffsetLag(7).setIsFutureKey(true);
        var heldTopic = new DescribeLogDirsResponseData.DescribeLogDirsTopic()
            .setName("topic").setPartitions(List.of(held, held.duplicate()));
        var directory = new DescribeLogDirsResponseData.DescribeLogDirsResult()
            .setErrorCode((short) 56).setLogDir("/data").setTotalBytes(4000).setUsableBytes(3000)
            .setTopics(List.of(heldTopic, heldTopic.duplicate()));
        response(35, 5, out, new DescribeLogDirsResponseData().setThrottleTimeMs(5)
            .setErrorCode((short) 31).setResults(List.of(directory, directory.duplicate())));
    }

    static void response(int key, int version, PrintWriter out, Message message) {
        ByteBuffer body = MessageUtil.toByteBufferAccessor(message, (short) version).buffer();
        out.println(key + " " + version + " " + hex(body));
    }

    static void requests(ApiMessageType api, PrintWriter out) {
        for (short version = api.lowestSupportedVersion();
                version <= api.highestSupportedVersion(false); version++) {
            for (String fill : List.of("full", "null", "empty")) {
                Schema schema = RequestHeaderData.SCHEMAS[api.requestHeaderVersion(version)];
                Struct header = (Struct) value(schema, fill);
                header.set("request_api_key", api.apiKey());
                header.set("request_api_version", version);
                Struct body = (Struct) value(api.requestSchemas()[version], fill);
                ByteBuffer frame = ByteBuffer.allocate(header.sizeOf() + body.sizeOf());
                header.writeTo(frame);
                body.writeTo(frame);
                out.println(api.apiKey() + " " + version + " " + fill + " " + hex(frame.flip()));
            }
        }
    }

    /** A value of the type: all fields set and two elements everywhere, or null or empty where it may be. */
    static Object value(Type type, String fill) {
        if (type.isNullable() && fill.equals("null")) return null;
        if (type instanceof Schema schema) {
            Struct struct = new Struct(schema);
            for (BoundField field : schema.fields()) struct.set(field, value(field.def.type, fill));
            return struct;
        }
        if (type instanceof TaggedFields tagged) {
            TreeMap<Integer, Object> fields = new TreeMap<>();
            if (fill.equals("empty")) return fields;
            tagged.fields().forEach((tag, field) -> fields.put(tag, value(field.type, fill)));
            if (fill.equals("full")) fields.put(99, new RawTaggedField(99, new byte[] {1, 2, 3}));
            return fields;
        }
        if (type.isArray()) {
            if (fill.equals("empty")) return new Object[0];
            Type element = type.arrayElementType().get();
            return new Object[] {value(element, fill), value(element, fill)};
        }
        String text = fill.equals("empty") ? "" : "text";
        return switch (type.toString().replace("COMPACT_", "").replace("NULLABLE_", "")) {
            case "BOOLEAN" -> true;
            case "INT8" -> (byte) 0x11;
            case "INT16" -> (short) 0x2122;
            case "INT32" -> 0x31323334;
            case "INT64" -> 0x4142434445464748L;
            case "UUID" -> new Uuid(0x5152535455565758L, 0x595a5b5c5d5e5f50L);
            case "STRING" -> text;
            case "BYTES" -> ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8));
            case "RECORDS" ->
                MemoryRecords.readableRecords(ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8)));
            default -> throw new IllegalArgumentException(type.toString());
        };
    }

    static void batch(String codec, PrintWriter out) {
        byte[] large = "all work and no play ".repeat(60).getBytes(StandardCharsets.UTF_8);
        Header[] headers = {
            new RecordHeader("trace", new byte[] {1, 2}),
            new RecordHeader("trace", null),
        };
        Compression compression = Compression.of(CompressionType.forName(codec)).build();
        MemoryRecords records = MemoryRecords.withIdempotentRecords(compression, 4000L, (short) 7, 9,
            new SimpleRecord(1700000000000L, "key".getBytes(), large, headers),
            new SimpleRecord(1700000000250L, null, "value".getBytes()),
            new SimpleRecord(1699999999990L, "gone".getBytes(), null));
        out.println(codec + " " + hex(records.buffer()));
    }

    static void fetchResponse(short version, PrintWriter out) {
        var full = new FetchResponseData.PartitionData()
            .setPartitionIndex(1).setErrorCode((short) 6).setHighWatermark(1000)
            .setLastStableOffset(900).setLogStartOffset(10)
            .setDivergingEpoch(new FetchResponseData.EpochEndOffset().setEpoch(3).setEndOffset(77))
            .setCurrentLeader(
                new FetchResponseData.LeaderIdAndEpoch().setLeaderId(2).setLeaderEpoch(4))
            .setAbortedTransactions(List.of(
                new FetchResponseData.AbortedTransaction().setProducerId(4000).setFirstOffset(5),
                new FetchResponseData.AbortedTransaction().setProducerId(4001).setFirstOffset(6)))
            .setRecords(MemoryRecords.readableRecords(ByteBuffer.wrap("records".getBytes())));
        var bare = new FetchResponseData.PartitionData()
            .setPartitionIndex(2).setHighWatermark(-1).setLastStableOffset(-1).setLogStartOffset(-1)
            .setAbortedTransactions(null).setRecords(MemoryRecords.EMPTY);
        if (version >= 11) full.setPreferredReadReplica(3);
        if (version < 12) {
            full.setDivergingEpoch(new FetchResponseData.EpochEndOffset());
            full.setCurrentLeader(new FetchResponseData.LeaderIdAndEpoch());
        }
        var topic = new FetchResponseData.FetchableTopicResponse()
            .setTopic("topic").setTopicId(new Uuid(7, 8)).setPartitions(List.of(full, bare));
        var response = new FetchResponseData().setThrottleTimeMs(5).setResponses(List.of(topic));
        if (version >= 7) response.setSessionId(12);
        if (version >= 16) {
            var nodes = new FetchResponseData.NodeEndpointCollection();
            nodes.add(new FetchResponseData.NodeEndpoint()
                .setNodeId(2).setHost("broker-2.example").setPort(9092).setRack("rack"));
            nodes.add(new FetchResponseData.NodeEndpoint()
                .setNodeId(3).setHost("broker-3.example").setPort(9093).setRack(null));
            response.setNodeEndpoints(nodes);
        }
        out.println(version + " " + hex(MessageUtil.toByteBufferAccessor(response, version).buffer()));
    }

    static String hex(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        return HexFormat.of().formatHex(bytes);
    }
}
