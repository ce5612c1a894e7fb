package syncmaster.bench;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.StateRestoreListener;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * Kafka Streams: one processor over a persistent (RocksDB) store with changelog and cache, three sinks, one stream thread.
 *
 * <p>Arguments: bootstrap input prefix partitions directory guarantee commit_interval_ms; the guarantee is exactly_once_v2 or
 * at_least_once. Followed, from the Kafka Streams developer guide and Confluent's notes on throughput: a cache that holds the whole state,
 * so that the changelog and RocksDB see a key once per commit; producer linger, batches of 200 kB, lz4; large fetches. The commit interval
 * is chosen in engines.py. Bytes are taken apart in the processor, once.
 */
public final class Peer {
    public static void main(String[] args) throws InterruptedException {
        report("begin");
        String prefix = args[2];
        KafkaStreams streams = new KafkaStreams(topology(args[1], prefix), properties(args));
        CountDownLatch end = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return null;
        });
        streams.setGlobalStateRestoreListener(new Restored(Integer.parseInt(args[3])));
        Runtime.getRuntime().addShutdownHook(new Thread(end::countDown));
        streams.start();
        end.await();
    }

    private static Topology topology(String input, String prefix) {
        var heads = Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("heads"), Serdes.ByteArray(), Serdes.ByteArray())
                .withCachingEnabled();
        return new Topology()
                .addSource("events", input)
                .addProcessor("fold", Fold::new, "events")
                .addStateStore(heads, "fold")
                .addSink("portal", prefix + ".portal", "fold")
                .addSink("store", prefix + ".store", "fold")
                .addSink("audit", prefix + ".audit", "fold");
    }

    private static Properties properties(String[] args) {
        Properties properties = new Properties();
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, args[2]);
        properties.put(StreamsConfig.STATE_DIR_CONFIG, args[4]);
        properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, args[5]);
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        properties.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        properties.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 512L << 20);
        properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, Integer.parseInt(args[6]));
        properties.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        properties.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        properties.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 100);
        properties.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 200_000);
        properties.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
        properties.put(StreamsConfig.producerPrefix(ProducerConfig.BUFFER_MEMORY_CONFIG), 64L << 20);
        properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 4000);
        properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), 4 << 20);
        properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.CHECK_CRCS_CONFIG), false);
        return properties;
    }

    private static final class Fold implements Processor<byte[], byte[], byte[], byte[]> {
        private ProcessorContext<byte[], byte[]> context;
        private KeyValueStore<byte[], byte[]> heads;

        @Override
        public void init(ProcessorContext<byte[], byte[]> context) {
            this.context = context;
            heads = context.getStateStore("heads");
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            try {
                Job.Change change = Job.apply(record.value(), heads.get(record.key()));
                heads.put(record.key(), change.state());
                send(record, change.portal(), "portal");
                send(record, change.store(), "store");
                send(record, change.audit(), "audit");
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }

        /** Without the headers of the event, which no other peer copies. */
        private void send(Record<byte[], byte[]> cause, byte[] value, String sink) {
            context.forward(new Record<>(cause.key(), value, cause.timestamp()), sink);
        }
    }

    /** Says when the stores of all partitions are restored, for the recovery benchmark. */
    private static final class Restored implements StateRestoreListener {
        private int left;

        Restored(int partitions) {
            left = partitions;
        }

        @Override
        public void onRestoreStart(TopicPartition partition, String store, long start, long end) {}

        @Override
        public void onBatchRestored(TopicPartition partition, String store, long end, long count) {}

        @Override
        public synchronized void onRestoreEnd(TopicPartition partition, String store, long count) {
            if (--left == 0) {
                report("recovered");
            }
        }
    }

    private static void report(String what) {
        OperatingSystemMXBean system = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        System.out.printf("%s %.3f %.3f%n", what, system.getProcessCpuTime() / 1e9, System.currentTimeMillis() / 1e3);
        System.out.flush();
    }

    private Peer() {}
}
