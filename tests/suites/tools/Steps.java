// Runs Apache Kafka's command-line tools, one step of `steps` after the other, and prints what each
// printed, with everything that differs from run to run replaced by a word in angle brackets.
//
//   Steps BOOTSTRAP FILE [PREFIX]     only the steps whose names begin so, and the directives
//
// All in one virtual machine: a tool is its `main`, with an end of the process that ends the step.

import java.io.ByteArrayOutputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.Exit;

public final class Steps {
    private static final long STEP_SECONDS_MAX = 40;
    private static final PrintStream OUT = System.out;
    private static final long BASE_MS = System.currentTimeMillis() / 1000 * 1000 - 3_600_000;
    private static final List<String> PACKAGES = List.of(
            "org.apache.kafka.tools.", "org.apache.kafka.tools.consumer.",
            "org.apache.kafka.tools.consumer.group.", "org.apache.kafka.tools.reassign.",
            "kafka.admin.");

    private final String bootstrap;
    private final Path scratch;
    private final Map<String, Member> members = new HashMap<>();

    private Steps(String bootstrap) throws Exception {
        this.bootstrap = bootstrap;
        this.scratch = Files.createTempDirectory("steps");
    }

    public static void main(String[] args) throws Exception {
        var steps = new Steps(args[0]);
        var captured = new Captured();
        PrintStream err = System.err;
        Thread.setDefaultUncaughtExceptionHandler((thread, error) -> error.printStackTrace(err));
        System.setOut(new PrintStream(captured, true));
        System.setErr(System.out);
        Exit.setExitProcedure(Ended::end);
        Exit.setHaltProcedure(Ended::end);
        Exit.setShutdownHookAdder((name, hook) -> { });
        String prefix = args.length > 2 ? args[2] : "";
        for (String line : Files.readAllLines(Path.of(args[1]))) {
            if (line.startsWith("@")) {
                steps.direct(line.substring(1).split(" "));
            } else if (!line.isBlank() && !line.startsWith("#") && line.startsWith(prefix)) {
                int colon = line.indexOf(": ");
                steps.run(line.substring(0, colon), line.substring(colon + 2), captured);
            }
        }
        OUT.flush();
        Runtime.getRuntime().halt(0);
    }

    /** Carries out one directive: records to read, members that are there while others look. */
    private void direct(String[] words) throws Exception {
        switch (words[0]) {
            case "produce" -> produce(words[1], Integer.parseInt(words[2]), Integer.parseInt(words[3]));
            case "join" -> {
                var member = new Member(words[1], words[2], words[3]);
                members.put(words[1], member);
                member.waitUntilAssigned();
            }
            case "leave" -> members.remove(words[1]).leave();
            default -> throw new IllegalArgumentException(words[0]);
        }
    }

    /** Record `number` of each partition has the time of BASE_MS and as many minutes. */
    private void produce(String topic, int partitions, int records) throws Exception {
        try (var producer = new KafkaProducer<>(Map.<String, Object>of("bootstrap.servers", bootstrap),
                new StringSerializer(), new StringSerializer())) {
            for (int number = 0; number < records; number++) {
                for (int partition = 0; partition < partitions; partition++) {
                    producer.send(new ProducerRecord<>(topic, partition, BASE_MS + number * 60_000L,
                            "key-" + number, "value-" + number)).get();
                }
            }
        }
    }

    private void run(String name, String line, Captured captured) throws Exception {
        String[] words = line.split(" ");
        List<String> arguments = new ArrayList<>();
        for (String word : Arrays.copyOfRange(words, 1, words.length)) {
            arguments.add(word.replace("BOOTSTRAP", bootstrap)
                    .replace("SCRATCH", scratch.toString())
                    .replace("TIME+3", java.time.Instant.ofEpochMilli(BASE_MS + 180_000).toString()
                            .replace("Z", ".000"))
                    .replace("MILLIS+3", Long.toString(BASE_MS + 180_000)));
        }
        if (!line.contains("BOOTSTRAP")) {
            arguments.addAll(0, List.of("--bootstrap-server", bootstrap));
        }
        captured.take();
        Ended.first = null;
        var main = find(words[0]).getMethod("main", String[].class);
        var executor = Executors.newSingleThreadExecutor(task -> {
            var thread = new Thread(task);
            thread.setDaemon(true);
            return thread;
        });
        String status;
        try {
            status = executor.submit(() -> {
                try {
                    main.invoke(null, (Object) arguments.toArray(String[]::new));
                } catch (InvocationTargetException error) {
                    if (!(error.getCause() instanceof Ended)) {
                        System.out.println(error.getCause());
                        return "exit 1";
                    }
                }
                return "exit " + (Ended.first == null ? 0 : Ended.first.status);
            }).get(STEP_SECONDS_MAX, TimeUnit.SECONDS);
        } catch (TimeoutException error) {
            status = "does not end";
        }
        executor.shutdownNow();
        String printed = captured.take();
        Files.writeString(scratch.resolve(name), printed);
        OUT.println("== " + name + ": " + line);
        OUT.println(status);
        normal(name, printed).stream().sorted().distinct().forEach(OUT::println);
        OUT.flush();
    }

    private static Class<?> find(String name) throws ClassNotFoundException {
        for (String place : PACKAGES) {
            try {
                return Class.forName(place + name);
            } catch (ClassNotFoundException error) {
                continue;
            }
        }
        throw new ClassNotFoundException(name);
    }

    private static final Pattern CONSUMED =
            Pattern.compile("\"partition\":(\\d+),\"count\":(\\d+),\"minOffset\":\\d+,\"maxOffset\":(\\d+)");
    private static final Pattern COMMITTED = Pattern.compile("\"partition\":(\\d+),\"offset\":(\\d+)");

    /** What VerifiableConsumer tells in as many lines as it has polls: all of them as one. */
    private static List<String> total(List<String> lines) {
        List<String> rest = new ArrayList<>();
        Map<String, Long> counts = new TreeMap<>();
        Map<String, Long> ends = new TreeMap<>();
        for (String line : lines) {
            if (line.contains("\"records_consumed\"")) {
                Matcher each = CONSUMED.matcher(line);
                while (each.find()) {
                    counts.merge(each.group(1), Long.valueOf(each.group(2)), Long::sum);
                    ends.merge("consumed through, partition " + each.group(1), Long.valueOf(each.group(3)), Math::max);
                }
            } else if (line.contains("\"offsets_committed\"")) {
                Matcher each = COMMITTED.matcher(line);
                while (each.find()) {
                    ends.merge("committed, partition " + each.group(1), Long.valueOf(each.group(2)), Math::max);
                }
            } else if (!line.contains("\"partitions\":[]")) {
                rest.add(line);
            }
        }
        counts.forEach((partition, count) -> rest.add("consumed, partition " + partition + ": " + count));
        ends.forEach((what, offset) -> rest.add(what + ": " + offset));
        return rest;
    }

    private List<String> normal(String name, String printed) {
        List<String> lines = new ArrayList<>();
        // The formatters of the coordinator's log write no ends of lines.
        for (String line : printed.replace("}{", "}\n{").replace("}Error", "}\nError").split("\n")) {
            line = line.replace(bootstrap, "<broker>").replace(scratch.toString(), "<scratch>")
                    .replace(bootstrap.split(":")[1], "<port>")
                    .replaceAll("127\\.0\\.0\\.1|localhost", "<host>");
            line = line.replaceAll("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}", "<uuid>");
            line = line.replaceAll("(?<![A-Za-z0-9_.-])[A-Za-z0-9_-]{22}(?![A-Za-z0-9_.-])", "<id>");
            line = line.replaceAll("\\b1[6-9][0-9]{11}\\b", "<ms>");
            line = line.replaceAll("\\b20[0-9]{2}-[0-9-]+[T ][0-9:.]+(,[0-9]{3})?(Z|\\+[0-9:]+)?", "<time>");
            line = line.replaceAll("(\"logDir\":)\"[^\"]*\"", "$1<dir>");
            line = line.replaceAll("[ \t]+", " ").strip();
            if (name.startsWith("performance-") && line.startsWith("<time>")) {
                // What is consumed stays, how fast goes.
                String[] fields = line.split(", ");
                line = fields[2] + " MB, " + fields[4] + " messages";
            }
            if (name.startsWith("log-") && line.startsWith("Processed a total")) {
                continue; // As often as members came and went.
            }
            boolean trace = line.startsWith("at ") || line.startsWith("... ");
            if (!line.isEmpty() && !trace && !line.equals("Steps$Ended") && !line.equals("null")) {
                lines.add(line);
            }
        }
        return name.startsWith("verifiable-") ? total(lines) : lines;
    }

    /** A consumer that is a member of the group of its name until it leaves. */
    private final class Member implements Runnable {
        private final String group;
        private final KafkaConsumer<String, String> consumer;
        private final CountDownLatch assigned = new CountDownLatch(1);
        private final Thread thread = new Thread(this);
        private volatile boolean left;

        Member(String group, String protocol, String topic) {
            this.group = group;
            consumer = new KafkaConsumer<>(Map.of(
                    "bootstrap.servers", bootstrap, "group.id", group, "client.id", "member",
                    "group.protocol", protocol, "enable.auto.commit", false,
                    "auto.offset.reset", "earliest"),
                    new StringDeserializer(), new StringDeserializer());
            consumer.subscribe(List.of(topic));
            thread.start();
        }

        @Override
        public void run() {
            while (!left) {
                consumer.poll(Duration.ofMillis(100));
                if (!consumer.assignment().isEmpty()) {
                    assigned.countDown();
                }
            }
            consumer.commitSync();
            consumer.close();
        }

        void waitUntilAssigned() throws Exception {
            if (!assigned.await(STEP_SECONDS_MAX, TimeUnit.SECONDS)) {
                OUT.println("== join-" + group + ": a member that is assigned nothing\nin time");
            }
        }

        void leave() throws Exception {
            left = true;
            thread.join();
        }
    }

    /** Takes the place of the end of the process. Some tools catch it and end once more. */
    private static final class Ended extends RuntimeException {
        private static volatile Ended first;
        private final int status;

        private Ended(int status) {
            this.status = status;
        }

        static void end(int status, String message) {
            if (first == null) {
                if (message != null) {
                    System.out.println(message);
                }
                first = new Ended(status);
            }
            throw first;
        }
    }

    private static final class Captured extends OutputStream {
        private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

        @Override
        public synchronized void write(int value) {
            bytes.write(value);
        }

        @Override
        public synchronized void write(byte[] from, int offset, int length) {
            bytes.write(from, offset, length);
        }

        synchronized String take() {
            System.out.flush();
            String text = bytes.toString(StandardCharsets.UTF_8);
            bytes.reset();
            return text;
        }
    }
}
