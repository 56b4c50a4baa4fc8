// Command check exercises a broker with franz-go; see ../../README.md.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	records = 500
	timeout = 60 * time.Second
)

var codecs = []struct {
	name  string
	codec kgo.CompressionCodec
}{
	{"none", kgo.NoCompression()},
	{"gzip", kgo.GzipCompression()},
	{"snappy", kgo.SnappyCompression()},
	{"lz4", kgo.Lz4Compression()},
	{"zstd", kgo.ZstdCompression()},
}

func check(holds bool, format string, args ...any) {
	if !holds {
		fmt.Printf("FAIL "+format+"\n", args...)
		os.Exit(1)
	}
}

func passed(format string, args ...any) { fmt.Printf("ok "+format+"\n", args...) }

// record is told by its codec and number alone, so that what comes back can be compared.
func record(topic string, partition int32, codec string, number int, base time.Time) *kgo.Record {
	return &kgo.Record{
		Topic:     topic,
		Partition: partition,
		Key:       fmt.Appendf(nil, "key-%d", number),
		Value:     fmt.Appendf(nil, "%s-%d-%s", codec, number, strings.Repeat("x", number%700)),
		Headers: []kgo.RecordHeader{
			{Key: "number", Value: fmt.Appendf(nil, "%d", number)},
			{Key: "empty", Value: []byte{}},
		},
		Timestamp: base.Add(time.Duration(number) * time.Second),
	}
}

func produce(ctx context.Context, bootstrap, topic string, partition int, base time.Time) {
	codec := codecs[partition]
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap),
		kgo.ProducerBatchCompression(codec.codec),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MaxBufferedRecords(50), // several batches, not one
	)
	check(err == nil, "client: %v", err)
	defer client.Close()
	results := make(chan error, records)
	for number := range records {
		sent := record(topic, int32(partition), codec.name, number, base)
		client.Produce(ctx, sent, func(acked *kgo.Record, err error) {
			if err == nil && acked.Offset != int64(number) {
				err = fmt.Errorf("record %d got offset %d", number, acked.Offset)
			}
			results <- err
		})
	}
	for range records {
		err := <-results
		check(err == nil, "%s: %v", codec.name, err)
	}
	passed("produce with idempotence, codec %s", codec.name)
}

func consume(ctx context.Context, bootstrap, topic string, partition int, base time.Time) {
	codec := codecs[partition].name
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
			topic: {int32(partition): kgo.NewOffset().AtStart()},
		}),
	)
	check(err == nil, "client: %v", err)
	defer client.Close()
	number := 0
	for number < records {
		fetches := client.PollFetches(ctx)
		check(fetches.Err() == nil, "%s: %v", codec, fetches.Err())
		fetches.EachRecord(func(got *kgo.Record) {
			want := record(topic, int32(partition), codec, number, base)
			check(got.Offset == int64(number), "%s: offset %d, not %d", codec, got.Offset, number)
			check(bytes.Equal(got.Key, want.Key), "%s: key of %d", codec, number)
			check(bytes.Equal(got.Value, want.Value), "%s: value of %d", codec, number)
			check(got.Timestamp.Equal(want.Timestamp), "%s: timestamp of %d", codec, number)
			check(len(got.Headers) == len(want.Headers), "%s: headers of %d", codec, number)
			for i, header := range want.Headers {
				same := got.Headers[i].Key == header.Key && bytes.Equal(got.Headers[i].Value, header.Value)
				check(same, "%s: header %s of %d", codec, header.Key, number)
			}
			number++
		})
	}
	passed("consume by assignment, codec %s", codec)
}

func readByTime(ctx context.Context, admin *kadm.Client, topic string, base time.Time) {
	for _, number := range []int{0, 1, 77, records - 1, records} {
		at := base.Add(time.Duration(number) * time.Second)
		found, err := admin.ListOffsetsAfterMilli(ctx, at.UnixMilli(), topic)
		check(err == nil, "offsets after a time: %v", err)
		for partition := range codecs {
			// After the last record kadm answers the end offset, which is this number too.
			got, _ := found.Lookup(topic, int32(partition))
			check(got.Err == nil && got.Offset == int64(number), "offset at time %d: %+v", number, got)
		}
	}
	end, err := admin.ListEndOffsets(ctx, topic)
	check(err == nil, "end offsets: %v", err)
	got, _ := end.Lookup(topic, 0)
	check(got.Offset == records, "end offset %d", got.Offset)
	passed("read by time")
}

func main() {
	bootstrap := os.Args[1]
	topic := fmt.Sprintf("compat-franz-%08x", rand.Uint32())
	base := time.UnixMilli(time.Now().Add(-time.Hour).UnixMilli())
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	check(err == nil, "client: %v", err)
	admin := kadm.NewClient(client)
	defer admin.Close()

	partitions := int32(len(codecs))
	retention := "86400000"
	configs := map[string]*string{"retention.ms": &retention}
	_, err = admin.CreateTopic(ctx, partitions, 1, configs, topic)
	check(err == nil, "create: %v", err)
	_, err = admin.CreateTopic(ctx, 1, 1, nil, topic)
	check(errors.Is(err, kerr.TopicAlreadyExists), "second create: %v", err)
	passed("create topic")

	for partition := range codecs {
		produce(ctx, bootstrap, topic, partition, base)
		consume(ctx, bootstrap, topic, partition, base)
	}
	readByTime(ctx, admin, topic, base)

	deleted, err := admin.DeleteTopics(ctx, topic)
	check(err == nil && deleted.Error() == nil, "delete: %v %v", err, deleted.Error())
	for {
		listed, err := admin.ListTopics(ctx)
		check(err == nil, "the deleted topic is still listed: %v", err)
		if !listed.Has(topic) {
			break
		}
	}
	passed("delete topic")
}
