// Command browse makes the calls of a topic browser, in its order, and checks what it would show:
// topics, their partitions, sizes and settings, groups with members and lag, the last messages.
package main

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	partitions = 3
	records    = 20 // in each partition
	committed  = 13
	last       = 5
	timeout    = 90 * time.Second
)

func check(holds bool, format string, args ...any) {
	if !holds {
		fmt.Printf("FAIL "+format+"\n", args...)
		os.Exit(1)
	}
}

func passed(format string, args ...any) { fmt.Printf("ok "+format+"\n", args...) }

// fill makes what there is to look at: records, a group that has gone and one that consumes.
func fill(ctx context.Context, client *kgo.Client, admin *kadm.Client, topic string) {
	retention := "86400000"
	_, err := admin.CreateTopic(ctx, partitions, 1, map[string]*string{"retention.ms": &retention}, topic)
	check(err == nil, "create: %v", err)
	for number := range records * partitions {
		record := &kgo.Record{
			Topic:     topic,
			Partition: int32(number % partitions),
			Key:       fmt.Appendf(nil, "key-%d", number/partitions),
			Value:     fmt.Appendf(nil, "value-%d", number/partitions),
		}
		check(client.ProduceSync(ctx, record).FirstErr() == nil, "produce")
	}
	offsets := kadm.Offsets{}
	for partition := range int32(partitions) {
		offsets.AddOffset(topic, partition, committed, -1)
	}
	// The group's coordinator may have to be made first, which the library waits for.
	err = admin.CommitAllOffsets(ctx, topic+"-gone", offsets)
	check(err == nil, "commit: %v", err)
	passed("something to look at")
}

func listTopics(ctx context.Context, admin *kadm.Client, topic string) {
	metadata, err := admin.Metadata(ctx)
	check(err == nil && metadata.Cluster != "" && len(metadata.Brokers) == 1, "cluster: %+v %v", metadata, err)
	listed, err := admin.ListTopics(ctx)
	check(err == nil && listed.Has(topic), "the topic is not listed: %v", err)
	check(!listed[topic].IsInternal && len(listed[topic].Partitions) == partitions, "listed: %+v", listed[topic])
	all, err := admin.ListTopicsWithInternal(ctx)
	check(err == nil && all["__consumer_offsets"].IsInternal, "internal topics: %v", err)
	for _, partition := range listed[topic].Partitions.Sorted() {
		one := partition.Leader >= 0 && len(partition.Replicas) == 1 && len(partition.ISR) == 1
		check(one && len(partition.OfflineReplicas) == 0 && partition.Err == nil, "partition: %+v", partition)
	}
	starts, err := admin.ListStartOffsets(ctx, topic)
	check(err == nil, "start offsets: %v", err)
	ends, err := admin.ListEndOffsets(ctx, topic)
	check(err == nil, "end offsets: %v", err)
	for partition := range int32(partitions) {
		start, _ := starts.Lookup(topic, partition)
		end, _ := ends.Lookup(topic, partition)
		check(start.Offset == 0 && end.Offset == records, "offsets %d to %d", start.Offset, end.Offset)
	}
	passed("topics, partitions and offsets")
}

func sizes(ctx context.Context, admin *kadm.Client, topic string) {
	dirs, err := admin.DescribeAllLogDirs(ctx, nil)
	check(err == nil, "log dirs: %v", err)
	found := 0
	dirs.Each(func(dir kadm.DescribedLogDir) {
		check(dir.Err == nil, "log dir: %+v", dir)
		dir.Topics.Each(func(partition kadm.DescribedLogDirPartition) {
			if partition.Topic == topic {
				check(partition.Size > 0 && !partition.IsFuture && partition.OffsetLag == 0, "size: %+v", partition)
				found++
			}
		})
	})
	check(found == partitions, "%d partitions have a size", found)
	passed("sizes")
}

func settings(ctx context.Context, admin *kadm.Client, topic string) {
	topics, err := admin.DescribeTopicConfigs(ctx, topic)
	check(err == nil && len(topics) == 1 && topics[0].Err == nil, "configs: %v", err)
	values := map[string]string{}
	for _, config := range topics[0].Configs {
		values[config.Key] = config.MaybeValue() + " " + config.Source.String()
	}
	check(values["retention.ms"] == "86400000 DYNAMIC_TOPIC_CONFIG", "retention.ms: %s", values["retention.ms"])
	check(values["cleanup.policy"] == "delete DEFAULT_CONFIG", "cleanup.policy: %s", values["cleanup.policy"])
	metadata, err := admin.BrokerMetadata(ctx)
	check(err == nil, "brokers: %v", err)
	brokers, err := admin.DescribeBrokerConfigs(ctx, metadata.Brokers[0].NodeID)
	check(err == nil && len(brokers[0].Configs) > 50, "broker configs: %v", err)
	passed("settings")
}

func groups(ctx context.Context, bootstrap string, admin *kadm.Client, topic string) {
	member, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic),
		kgo.ConsumerGroup(topic+"-here"), kgo.DisableAutoCommit(), kgo.ClientID("browsed"))
	check(err == nil, "client: %v", err)
	defer member.Close()
	for seen := 0; seen < partitions*records; {
		fetches := member.PollFetches(ctx)
		check(fetches.Err() == nil, "fetch: %v", fetches.Err())
		seen += fetches.NumRecords()
	}
	check(member.CommitUncommittedOffsets(ctx) == nil, "commit")
	listed, err := admin.ListGroups(ctx)
	check(err == nil, "list groups: %v", err)
	for name, expected := range map[string]struct {
		state   string
		members int
		lag     int64
	}{
		topic + "-gone": {"Empty", 0, partitions * (records - committed)},
		topic + "-here": {"Stable", 1, 0},
	} {
		check(listed[name].State == expected.state, "listed %s: %+v", name, listed[name])
		lags, err := admin.Lag(ctx, name)
		check(err == nil && lags.Error() == nil, "lag of %s: %v %v", name, err, lags.Error())
		lag := lags[name]
		check(lag.State == expected.state && len(lag.Members) == expected.members, "%s: %+v", name, lag)
		check(lag.Lag.Total() == expected.lag, "lag of %s: %d", name, lag.Lag.Total())
		for _, member := range lag.Members {
			check(member.ClientID == "browsed" && member.ClientHost == "/127.0.0.1", "member: %+v", member)
			assigned, is := member.Assigned.AsConsumer()
			check(is && len(assigned.Topics) == 1 && len(assigned.Topics[0].Partitions) == partitions,
				"assignment: %+v", assigned)
		}
		for _, partition := range lag.Lag.Sorted() {
			same := (partition.Member != nil) == (expected.members == 1)
			check(same && partition.End.Offset == records, "partition: %+v", partition)
		}
	}
	passed("groups with members and lag")
}

func lastMessages(ctx context.Context, bootstrap, topic string) {
	from := map[int32]kgo.Offset{}
	for partition := range int32(partitions) {
		from[partition] = kgo.NewOffset().AtEnd().Relative(-last)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	check(err == nil, "client: %v", err)
	defer client.Close()
	next := [partitions]int64{}
	for seen := 0; seen < partitions*last; {
		fetches := client.PollFetches(ctx)
		check(fetches.Err() == nil, "fetch: %v", fetches.Err())
		fetches.EachRecord(func(record *kgo.Record) {
			offset := records - last + next[record.Partition]
			value := fmt.Sprintf("value-%d", offset)
			check(record.Offset == offset && string(record.Value) == value, "record: %+v", record)
			next[record.Partition]++
			seen++
		})
	}
	passed("last messages")
}

func main() {
	bootstrap := os.Args[1]
	topic := fmt.Sprintf("compat-browse-%08x", rand.Uint32())
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	check(err == nil, "client: %v", err)
	admin := kadm.NewClient(client)
	defer admin.Close()
	fill(ctx, client, admin, topic)
	listTopics(ctx, admin, topic)
	sizes(ctx, admin, topic)
	settings(ctx, admin, topic)
	groups(ctx, bootstrap, admin, topic)
	lastMessages(ctx, bootstrap, topic)
	_, err = admin.DeleteTopics(ctx, topic)
	check(err == nil, "delete: %v", err)
	_, err = admin.DeleteGroups(ctx, topic+"-gone", topic+"-here")
	check(err == nil, "delete groups: %v", err)
	passed("delete topic")
}
