// Command sarama exercises a broker with sarama; see ../README.md.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

const (
	records = 500
	timeout = 30 * time.Second
)

var codecs = []sarama.CompressionCodec{
	sarama.CompressionNone,
	sarama.CompressionGZIP,
	sarama.CompressionSnappy,
	sarama.CompressionLZ4,
	sarama.CompressionZSTD,
}

func check(holds bool, format string, args ...any) {
	if !holds {
		fmt.Printf("FAIL "+format+"\n", args...)
		os.Exit(1)
	}
}

func passed(format string, args ...any) { fmt.Printf("ok "+format+"\n", args...) }

func config(codec sarama.CompressionCodec) *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Retry.Max = 10
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Compression = codec
	config.Producer.Flush.MaxMessages = 70
	config.Net.MaxOpenRequests = 1
	return config
}

func value(codec sarama.CompressionCodec, number int) []byte {
	return fmt.Appendf(nil, "%s-%d-%s", codec, number, strings.Repeat("x", number%700))
}

func produce(bootstrap, topic string, partition int, base time.Time) {
	codec := codecs[partition]
	producer, err := sarama.NewSyncProducer([]string{bootstrap}, config(codec))
	check(err == nil, "producer: %v", err)
	defer producer.Close()
	var messages []*sarama.ProducerMessage
	for number := range records {
		messages = append(messages, &sarama.ProducerMessage{
			Topic:     topic,
			Partition: int32(partition),
			Key:       sarama.StringEncoder(fmt.Sprintf("key-%d", number)),
			Value:     sarama.ByteEncoder(value(codec, number)),
			Headers:   []sarama.RecordHeader{{Key: []byte("number"), Value: fmt.Appendf(nil, "%d", number)}},
			Timestamp: base.Add(time.Duration(number) * time.Second),
		})
	}
	err = producer.SendMessages(messages)
	check(err == nil, "%s: %v", codec, err)
	for number, message := range messages {
		check(message.Offset == int64(number), "%s: offset %d, not %d", codec, message.Offset, number)
	}
	passed("produce with idempotence, codec %s", codec)
}

func consume(client sarama.Client, topic string, partition int, base time.Time) {
	codec := codecs[partition]
	consumer, err := sarama.NewConsumerFromClient(client)
	check(err == nil, "consumer: %v", err)
	stream, err := consumer.ConsumePartition(topic, int32(partition), sarama.OffsetOldest)
	check(err == nil, "consume: %v", err)
	defer stream.Close()
	for number := range records {
		select {
		case got := <-stream.Messages():
			check(got.Offset == int64(number), "%s: offset %d, not %d", codec, got.Offset, number)
			check(string(got.Key) == fmt.Sprintf("key-%d", number), "%s: key of %d", codec, number)
			check(bytes.Equal(got.Value, value(codec, number)), "%s: value of %d", codec, number)
			at := base.Add(time.Duration(number) * time.Second)
			check(got.Timestamp.Equal(at), "%s: timestamp of %d", codec, number)
			header := len(got.Headers) == 1 && string(got.Headers[0].Value) == fmt.Sprint(number)
			check(header, "%s: headers of %d", codec, number)
		case <-time.After(timeout):
			check(false, "%s: only %d records came back", codec, number)
		}
	}
	passed("consume by assignment, codec %s", codec)
}

func readByTime(client sarama.Client, topic string, base time.Time) {
	for partition := range codecs {
		for _, number := range []int{0, 1, 77, records - 1} {
			at := base.Add(time.Duration(number) * time.Second).UnixMilli()
			offset, err := client.GetOffset(topic, int32(partition), at)
			check(err == nil && offset == int64(number), "offset at time %d: %d %v", number, offset, err)
		}
		newest, err := client.GetOffset(topic, int32(partition), sarama.OffsetNewest)
		check(err == nil && newest == records, "newest %d %v", newest, err)
		oldest, err := client.GetOffset(topic, int32(partition), sarama.OffsetOldest)
		check(err == nil && oldest == 0, "oldest %d %v", oldest, err)
	}
	passed("read by time")
}

func create(admin sarama.ClusterAdmin, topic string) {
	retention := "86400000"
	detail := &sarama.TopicDetail{
		NumPartitions:     int32(len(codecs)),
		ReplicationFactor: 1,
		ConfigEntries:     map[string]*string{"retention.ms": &retention},
	}
	err := admin.CreateTopic(topic, detail, false)
	check(err == nil, "create: %v", err)
	err = admin.CreateTopic(topic, detail, false)
	check(errors.Is(err, sarama.ErrTopicAlreadyExists), "second create: %v", err)
	err = admin.CreatePartitions(topic, int32(len(codecs)+1), nil, false)
	check(err == nil, "create partitions: %v", err)
	entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic})
	check(err == nil, "describe config: %v", err)
	kept := slices.ContainsFunc(entries, func(entry sarama.ConfigEntry) bool {
		return entry.Name == "retention.ms" && entry.Value == retention
	})
	check(kept, "retention.ms as created")
	passed("create and describe topic")
}

func main() {
	bootstrap := os.Args[1]
	topic := fmt.Sprintf("compat-sarama-%08x", rand.Uint32())
	base := time.UnixMilli(time.Now().Add(-time.Hour).UnixMilli())
	client, err := sarama.NewClient([]string{bootstrap}, config(sarama.CompressionNone))
	check(err == nil, "client: %v", err)
	admin, err := sarama.NewClusterAdmin([]string{bootstrap}, config(sarama.CompressionNone))
	check(err == nil, "admin: %v", err)
	create(admin, topic)
	for partition := range codecs {
		produce(bootstrap, topic, partition, base)
		consume(client, topic, partition, base)
	}
	readByTime(client, topic, base)
	err = admin.DeleteRecords(topic, map[int32]int64{0: 100})
	check(err == nil, "delete records: %v", err)
	oldest, err := client.GetOffset(topic, 0, sarama.OffsetOldest)
	check(err == nil && oldest == 100, "oldest after delete records: %d %v", oldest, err)
	passed("delete records")
	err = admin.DeleteTopic(topic)
	check(err == nil, "delete: %v", err)
	deadline := time.Now().Add(timeout)
	for {
		listed, err := admin.ListTopics()
		check(err == nil && time.Now().Before(deadline), "the deleted topic is still listed: %v", err)
		if _, there := listed[topic]; !there {
			break
		}
	}
	passed("delete topic")
}
