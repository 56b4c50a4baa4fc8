// Command group is a member of a group, with sarama; see ../../README.md for what it prints.
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
	"time"

	"github.com/IBM/sarama"
)

type member struct{ topic string }

func tell(partitions []int32) {
	partitions = slices.Clone(partitions)
	slices.Sort(partitions)
	fmt.Println("assigned", strings.Trim(fmt.Sprint(partitions), "[]"))
}

func (m member) Setup(session sarama.ConsumerGroupSession) error {
	tell(session.Claims()[m.topic])
	return nil
}

func (m member) Cleanup(sarama.ConsumerGroupSession) error {
	tell(nil)
	return nil
}

// ConsumeClaim runs once for each partition. sarama does not tell whether a commit was taken, so
// nothing is told of commits.
func (m member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, more := <-claim.Messages():
			if !more {
				return nil
			}
			fmt.Println("got", message.Partition, message.Offset, string(message.Value))
			session.MarkMessage(message, "")
			if message.Offset+1 == claim.HighWaterMarkOffset() {
				session.Commit()
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

func main() {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Interval = 100 * time.Millisecond
	config.Consumer.Group.Session.Timeout = 10 * time.Second
	config.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	config.Consumer.Group.Rebalance.Retry.Backoff = 200 * time.Millisecond
	config.Consumer.Return.Errors = false
	config.Metadata.Retry.Max = 100
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	group, err := sarama.NewConsumerGroup(strings.Split(os.Args[1], ","), os.Args[3], config)
	if err != nil {
		fmt.Println("FAIL", err)
		os.Exit(1)
	}
	for ctx.Err() == nil {
		// Returns at each rebalance, and with an error when the broker goes away.
		if err := group.Consume(ctx, []string{os.Args[2]}, member{os.Args[2]}); err != nil {
			fmt.Println("ended", err)
			time.Sleep(100 * time.Millisecond)
		}
	}
	if err := group.Close(); err != nil {
		fmt.Println("FAIL", err)
		os.Exit(1)
	}
	fmt.Println("left")
}
