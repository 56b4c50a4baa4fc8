// A member of a group, with Apache Kafka's Java client; see ../README.md for what it prints.
// Group BOOTSTRAP TOPIC GROUP [classic|consumer]

import java.io.IOException;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

public final class Group {
    public static void main(String[] args) {
        String protocol = args.length > 3 ? args[3] : "classic";
        Map<String, Object> config = new HashMap<>(Map.of(
                "bootstrap.servers", args[0],
                "group.id", args[2],
                "group.protocol", protocol,
                "enable.auto.commit", false,
                "auto.offset.reset", "earliest",
                "reconnect.backoff.max.ms", 200,
                "max.poll.records", 100));
        if (protocol.equals("classic")) {
            config.put("session.timeout.ms", 10_000);
            config.put("heartbeat.interval.ms", 500);
        }
        var ended = new AtomicBoolean();
        var input = new Thread(() -> {
            readToEnd();
            ended.set(true);
        });
        input.setDaemon(true);
        input.start();
        try (var consumer =
                new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(args[1]), listener(consumer));
            while (!ended.get()) {
                consume(consumer);
            }
        }
        System.out.println("left");
    }

    private static void consume(KafkaConsumer<String, String> consumer) {
        var records = consumer.poll(Duration.ofMillis(100));
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (ConsumerRecord<String, String> record : records) {
            System.out.printf("got %d %d %s%n", record.partition(), record.offset(), record.value());
            offsets.put(new TopicPartition(record.topic(), record.partition()),
                    new OffsetAndMetadata(record.offset() + 1));
        }
        if (offsets.isEmpty()) {
            return;
        }
        try {
            consumer.commitSync(offsets);
            offsets.forEach((partition, offset) ->
                    System.out.printf("committed %d %d%n", partition.partition(), offset.offset()));
        } catch (KafkaException error) {
            System.out.println("uncommitted " + error);
        }
    }

    private static ConsumerRebalanceListener listener(KafkaConsumer<?, ?> consumer) {
        return new ConsumerRebalanceListener() {
            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> added) {
                tell(new TreeSet<>());
            }

            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> revoked) {
                tell(partitions(revoked));
            }

            private void tell(Collection<Integer> without) {
                var left = partitions(consumer.assignment());
                left.removeAll(without);
                System.out.println(("assigned " + left).replaceAll("[\\[\\],]", ""));
            }
        };
    }

    private static TreeSet<Integer> partitions(Collection<TopicPartition> of) {
        var partitions = new TreeSet<Integer>();
        of.forEach(each -> partitions.add(each.partition()));
        return partitions;
    }

    private static void readToEnd() {
        try {
            System.in.readAllBytes();
        } catch (IOException error) {
            System.out.println("FAIL " + error);
        }
    }
}
