// Command load produces with franz-go's idempotent producer until standard input ends, whatever the
// broker does: load BOOTSTRAP TOPIC PARTITIONS CLIENT. Values are CLIENT:NUMBER, counting up in each
// partition. It tells each record before it is sent (`sending PARTITION NUMBER`) and once it is
// acknowledged (`acked PARTITION NUMBER OFFSET`), for the checker of histories.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	burst = 10
	pause = 5 * time.Millisecond
)

func main() {
	topic, client := os.Args[2], os.Args[4]
	partitions, err := strconv.Atoi(os.Args[3])
	exitOn(err)
	producer, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(os.Args[1], ",")...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), // the checker reads raw batches
		kgo.RequestRetries(math.MaxInt32),
		kgo.RecordRetries(math.MaxInt32),
		kgo.RetryTimeout(time.Hour),
		kgo.RetryBackoffFn(func(int) time.Duration { return 30 * time.Millisecond }),
		kgo.ProducerLinger(2*time.Millisecond),
		kgo.MaxBufferedRecords(1000),
	)
	exitOn(err)

	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()

	var mutex sync.Mutex
	out := bufio.NewWriter(os.Stdout)
	tell := func(format string, args ...any) {
		mutex.Lock()
		defer mutex.Unlock()
		fmt.Fprintf(out, format+"\n", args...)
	}
	flush := func() {
		mutex.Lock()
		defer mutex.Unlock()
		out.Flush()
	}
	ctx := context.Background()
	for number, running := 0, true; running; {
		for range burst {
			for partition := range partitions {
				sent := number
				tell("sending %d %d", partition, sent)
				record := &kgo.Record{
					Topic:     topic,
					Partition: int32(partition),
					Value:     fmt.Appendf(nil, "%s:%d", client, sent),
				}
				producer.Produce(ctx, record, func(acked *kgo.Record, err error) {
					exitOn(err)
					tell("acked %d %d %d", acked.Partition, sent, acked.Offset)
				})
			}
			number++
		}
		flush()
		select {
		case <-ended:
			running = false
		case <-time.After(pause):
		}
	}
	exitOn(producer.Flush(ctx))
	flush()
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
