// Command group is a member of a group, with franz-go; see ../../README.md for what it prints.
//
//	group BOOTSTRAP TOPIC GROUP
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// assignment is what the member owns: rebalances are cooperative, so it is told of changes only.
type assignment struct {
	mutex      sync.Mutex
	partitions map[int32]bool
}

func (a *assignment) change(changed map[string][]int32, owned bool) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	for _, partitions := range changed {
		for _, partition := range partitions {
			if owned {
				a.partitions[partition] = true
			} else {
				delete(a.partitions, partition)
			}
		}
	}
	var all []int
	for partition := range a.partitions {
		all = append(all, int(partition))
	}
	slices.Sort(all)
	fmt.Println("assigned", strings.Trim(fmt.Sprint(all), "[]"))
}

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	owned := assignment{partitions: map[int32]bool{}}
	lost := func(_ context.Context, _ *kgo.Client, gone map[string][]int32) { owned.change(gone, false) }
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(os.Args[1], ",")...),
		kgo.ConsumeTopics(os.Args[2]),
		kgo.ConsumerGroup(os.Args[3]),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.SessionTimeout(10*time.Second),
		kgo.HeartbeatInterval(500*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, added map[string][]int32) {
			owned.change(added, true)
		}),
		kgo.OnPartitionsRevoked(lost),
		kgo.OnPartitionsLost(lost),
	)
	if err != nil {
		fmt.Println("FAIL", err)
		os.Exit(1)
	}
	for ctx.Err() == nil {
		fetches := client.PollRecords(ctx, 100)
		if fetches.NumRecords() == 0 {
			continue
		}
		fetches.EachRecord(func(record *kgo.Record) {
			fmt.Println("got", record.Partition, record.Offset, string(record.Value))
		})
		if err := client.CommitRecords(ctx, fetches.Records()...); err != nil {
			fmt.Println("uncommitted", err)
			continue
		}
		fetches.EachPartition(func(of kgo.FetchTopicPartition) {
			if len(of.Records) > 0 {
				fmt.Println("committed", of.Partition, of.Records[len(of.Records)-1].Offset+1)
			}
		})
	}
	client.Close()
	fmt.Println("left")
}
