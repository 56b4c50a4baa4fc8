// Command member consumes a topic as a member of a group until standard input ends, whatever the
// broker does, and then leaves: member BOOTSTRAP TOPIC GROUP classic|consumer. It commits what it has
// polled, and tells what happened for the checker of histories, each line with the time of this
// machine's clock in nanoseconds: `assigned TIME GENERATION PARTITION`, `given TIME PARTITION` when it
// gives a partition up and `lost TIME PARTITION` when it was taken away, `first TIME PARTITION OFFSET`
// of the first record after an assignment, `committing TIME PARTITION OFFSET` before and `committed TIME
// PARTITION OFFSET` after a commit.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// teller writes whole lines at once: a line that is told must not wait for the next.
type teller struct {
	mutex sync.Mutex
	out   *bufio.Writer
}

func (t *teller) tell(format string, args ...any) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	fmt.Fprintf(t.out, format+"\n", args...)
	t.out.Flush()
}

func now() int64 { return time.Now().UnixNano() }

func main() {
	topic, group, protocol := os.Args[2], os.Args[3], os.Args[4]
	t := &teller{out: bufio.NewWriter(os.Stdout)}
	fresh := map[int32]bool{} // assigned, and nothing was polled since; only touched between polls

	ctx := context.Background()
	balancing := []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer())}
	if protocol == "consumer" {
		balancing = []kgo.Opt{kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer()}
	}
	client, err := kgo.NewClient(append(balancing,
		kgo.SeedBrokers(os.Args[1]),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(), // so that what is polled is committed before it is given up
		kgo.SessionTimeout(10*time.Second),
		kgo.RebalanceTimeout(20*time.Second),
		kgo.HeartbeatInterval(200*time.Millisecond),
		kgo.FetchMaxWait(200*time.Millisecond),
		kgo.RequestRetries(math.MaxInt32),
		kgo.RetryTimeout(time.Hour),
		kgo.RetryBackoffFn(func(int) time.Duration { return 30 * time.Millisecond }),
		kgo.OnPartitionsAssigned(func(_ context.Context, client *kgo.Client, assigned map[string][]int32) {
			_, generation := client.GroupMetadata()
			for _, partition := range assigned[topic] {
				fresh[partition] = true
				t.tell("assigned %d %d %d", now(), generation, partition)
			}
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, revoked map[string][]int32) {
			for _, partition := range revoked[topic] {
				t.tell("given %d %d", now(), partition)
			}
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
			for _, partition := range lost[topic] {
				t.tell("lost %d %d", now(), partition)
			}
		}),
	)...)
	exitOn(err)

	polling, stop := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	for polling.Err() == nil {
		fetches := client.PollRecords(polling, 200)
		fetches.EachPartition(func(fetched kgo.FetchTopicPartition) {
			if len(fetched.Records) > 0 && fresh[fetched.Partition] {
				fresh[fetched.Partition] = false
				t.tell("first %d %d %d", now(), fetched.Partition, fetched.Records[0].Offset)
			}
		})
		commit(ctx, client, t, fetches)
		client.AllowRebalance()
	}
	client.CloseAllowingRebalance()
}

// commit tells each offset before it is sent, and once the broker has acknowledged it. One that is
// refused or lost is made up for by the next.
func commit(ctx context.Context, client *kgo.Client, t *teller, fetches kgo.Fetches) {
	offsets := map[string]map[int32]kgo.EpochOffset{}
	fetches.EachPartition(func(fetched kgo.FetchTopicPartition) {
		if len(fetched.Records) == 0 {
			return
		}
		if offsets[fetched.Topic] == nil {
			offsets[fetched.Topic] = map[int32]kgo.EpochOffset{}
		}
		last := fetched.Records[len(fetched.Records)-1]
		next := kgo.EpochOffset{Epoch: last.LeaderEpoch, Offset: last.Offset + 1}
		offsets[fetched.Topic][fetched.Partition] = next
		t.tell("committing %d %d %d", now(), fetched.Partition, next.Offset)
	})
	if len(offsets) == 0 {
		return
	}
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client.CommitOffsetsSync(limited, offsets, func(
		_ *kgo.Client, request *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error,
	) {
		if err != nil {
			return
		}
		for _, topic := range response.Topics {
			for _, partition := range topic.Partitions {
				if kerr.ErrorForCode(partition.ErrorCode) == nil {
					offset := offsets[request.Topics[0].Topic][partition.Partition].Offset
					t.tell("committed %d %d %d", now(), partition.Partition, offset)
				}
			}
		}
	})
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
