import java.io.BufferedOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Properties;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Produces with Kafka's own idempotent producer until standard input ends, whatever the broker does:
 * Load BOOTSTRAP TOPIC PARTITIONS CLIENT. Values are CLIENT:NUMBER, counting up in each partition.
 * Tells each record before it is sent ("sending PARTITION NUMBER") and once it is acknowledged
 * ("acked PARTITION NUMBER OFFSET"), for the checker of histories.
 */
public final class Load {
  private static final int BURST = 10;
  private static final int PAUSE_MS = 5;
  private static final int IN_FLIGHT_MAX = 1000;

  public static void main(String[] arguments) throws Exception {
    String topic = arguments[1];
    int partitions = Integer.parseInt(arguments[2]);
    String client = arguments[3];
    Thread end = new Thread(Load::readToEnd);
    end.setDaemon(true);
    end.start();
    // What the client logs goes elsewhere, or it would get in the middle of a line.
    FileOutputStream told = new FileOutputStream(FileDescriptor.out);
    PrintStream out = new PrintStream(new BufferedOutputStream(told, 1 << 16), false);
    System.setOut(System.err);
    AtomicReference<Exception> failure = new AtomicReference<>();
    Semaphore inFlight = new Semaphore(IN_FLIGHT_MAX);
    try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings(arguments[0]))) {
      for (long number = 0; end.isAlive() && failure.get() == null; number++) {
        for (int partition = 0; partition < partitions; partition++) {
          long sent = number;
          tell(out, "sending " + partition + " " + sent);
          inFlight.acquire();
          producer.send(
              new ProducerRecord<>(topic, partition, null, client + ":" + sent),
              (metadata, error) -> {
                inFlight.release();
                if (error != null) {
                  failure.compareAndSet(null, error);
                } else {
                  tell(out, "acked " + metadata.partition() + " " + sent + " " + metadata.offset());
                }
              });
        }
        if (number % BURST == BURST - 1) {
          flush(out);
          Thread.sleep(PAUSE_MS);
        }
      }
      producer.flush();
    }
    flush(out);
    if (failure.get() != null) {
      failure.get().printStackTrace();
      System.exit(1);
    }
  }

  private static Properties settings(String bootstrap) {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", bootstrap);
    settings.put("acks", "all");
    settings.put("enable.idempotence", "true");
    settings.put("linger.ms", "2");
    settings.put("retries", String.valueOf(Integer.MAX_VALUE));
    settings.put("delivery.timeout.ms", String.valueOf(Integer.MAX_VALUE));
    settings.put("max.block.ms", String.valueOf(Integer.MAX_VALUE));
    settings.put("request.timeout.ms", "5000");
    settings.put("retry.backoff.ms", "20");
    settings.put("retry.backoff.max.ms", "200");
    settings.put("reconnect.backoff.ms", "20");
    settings.put("reconnect.backoff.max.ms", "200");
    settings.put("key.serializer", StringSerializer.class.getName());
    settings.put("value.serializer", StringSerializer.class.getName());
    return settings;
  }

  private static void tell(PrintStream out, String line) {
    byte[] bytes = (line + "\n").getBytes(StandardCharsets.UTF_8);
    synchronized (out) {
      out.write(bytes, 0, bytes.length);
    }
  }

  private static void flush(PrintStream out) {
    synchronized (out) {
      out.flush();
    }
  }

  private static void readToEnd() {
    try {
      while (System.in.read() >= 0) {}
    } catch (IOException closed) {
      // The same as its end.
    }
  }
}
