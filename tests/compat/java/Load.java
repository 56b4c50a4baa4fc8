// Loads a broker that is killed meanwhile, with Apache Kafka's Java client; see ../README.md.
//
// Load produce BOOTSTRAP TOPIC PARTITIONS CLIENT   until standard input says so, then flushes
// Load read    BOOTSTRAP TOPIC PARTITIONS          until standard input says so

import java.io.BufferedOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Semaphore;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public final class Load {
    private static final int IN_FLIGHT_MAX = 400;
    private static final int BURST = 5;

    private final PrintStream out =
            new PrintStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 1 << 16));
    private final String topic;
    private final int partitions;
    private final Map<String, Object> settings = new HashMap<>();

    private Load(String bootstrap, String topic, int partitions) {
        this.topic = topic;
        this.partitions = partitions;
        settings.put("bootstrap.servers", bootstrap);
        settings.put("reconnect.backoff.ms", 5);
        settings.put("reconnect.backoff.max.ms", 20);
        settings.put("retry.backoff.ms", 5);
        settings.put("retry.backoff.max.ms", 20);
    }

    public static void main(String[] args) throws Exception {
        Load load = new Load(args[1], args[2], Integer.parseInt(args[3]));
        if (args[0].equals("produce")) {
            load.produce(args[4]);
        } else {
            load.read();
        }
        load.out.flush();
    }

    private static boolean stopped() throws Exception {
        return System.in.available() > 0;
    }

    private void produce(String client) throws Exception {
        settings.put("delivery.timeout.ms", 240_000);
        settings.put("max.block.ms", 240_000);
        settings.put("linger.ms", 1);
        settings.put("compression.type", "zstd");
        settings.put("key.serializer", StringSerializer.class);
        settings.put("value.serializer", StringSerializer.class);
        Semaphore inFlight = new Semaphore(IN_FLIGHT_MAX);
        long[] numbers = new long[partitions];
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings)) {
            while (!stopped()) {
                for (int partition = 0; partition < partitions; partition++) {
                    for (int i = 0; i < BURST; i++) {
                        send(producer, inFlight, partition, client + ":" + numbers[partition]++);
                    }
                }
                synchronized (out) {
                    out.flush();
                }
                Thread.sleep(2);
            }
        }
    }

    private void send(KafkaProducer<String, String> producer, Semaphore inFlight, int partition, String value)
            throws InterruptedException {
        inFlight.acquire();
        synchronized (out) {
            out.println("sent " + partition + " " + value);
        }
        producer.send(new ProducerRecord<>(topic, partition, null, value), (metadata, failure) -> {
            inFlight.release();
            synchronized (out) {
                if (failure == null) {
                    out.println("acked " + partition + " " + value + " " + metadata.offset());
                } else {
                    out.println("failed " + value + " " + failure);
                }
                // The sender of this client may be waiting for room: nobody else would flush.
                out.flush();
            }
        });
    }

    private void read() throws Exception {
        // A position that the broker no longer knows is a record lost: it must not be papered over.
        settings.put("auto.offset.reset", "none");
        settings.put("fetch.max.wait.ms", 50);
        settings.put("key.deserializer", StringDeserializer.class);
        settings.put("value.deserializer", StringDeserializer.class);
        List<TopicPartition> assigned =
                IntStream.range(0, partitions).mapToObj(p -> new TopicPartition(topic, p)).toList();
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings)) {
            consumer.assign(assigned);
            assigned.forEach(partition -> consumer.seek(partition, 0));
            while (!stopped()) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) {
                    out.println("shown " + record.partition() + " " + record.offset() + " " + record.value());
                }
                out.flush();
            }
        }
    }
}
