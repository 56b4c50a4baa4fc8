// Command load produces with sarama's idempotent producer until standard input ends, whatever the
// broker does: load BOOTSTRAP TOPIC PARTITIONS CLIENT. Values are CLIENT:NUMBER, counting up in each
// partition. It tells each record before it is sent (`sending PARTITION NUMBER`) and once it is
// acknowledged (`acked PARTITION NUMBER OFFSET`), for the checker of histories.
package main

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

const (
	burst    = 5
	pause    = 5 * time.Millisecond
	inFlight = 500
	retries  = 5000
)

func main() {
	topic, client := os.Args[2], os.Args[4]
	partitions, err := strconv.Atoi(os.Args[3])
	exitOn(err)
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Retry.Max = retries // it keeps room for each
	config.Producer.Retry.Backoff = 30 * time.Millisecond
	config.Metadata.Retry.Max = math.MaxInt32
	config.Metadata.Retry.Backoff = 30 * time.Millisecond
	config.Net.MaxOpenRequests = 1
	config.Net.DialTimeout = 2 * time.Second
	config.Net.ReadTimeout = 5 * time.Second
	producer, err := sarama.NewAsyncProducer(strings.Split(os.Args[1], ","), config)
	exitOn(err)

	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	lines := make(chan string, 100)
	written := make(chan struct{})
	go write(lines, written)
	slots := make(chan struct{}, inFlight)
	acked := make(chan struct{})
	go func() {
		for message := range producer.Successes() {
			lines <- fmt.Sprintf("acked %d %d %d", message.Partition, message.Metadata, message.Offset)
			<-slots
		}
		close(acked)
	}()
	go func() {
		for failed := range producer.Errors() {
			exitOn(failed)
		}
	}()
	for number, running := 0, true; running; {
		for range burst {
			for partition := range partitions {
				slots <- struct{}{}
				lines <- fmt.Sprintf("sending %d %d", partition, number)
				producer.Input() <- &sarama.ProducerMessage{
					Topic:     topic,
					Partition: int32(partition),
					Value:     sarama.StringEncoder(fmt.Sprintf("%s:%d", client, number)),
					Metadata:  number,
				}
			}
			number++
		}
		select {
		case <-ended:
			running = false
		case <-time.After(pause):
		}
	}
	producer.AsyncClose()
	<-acked
	close(lines)
	<-written
}

func write(lines <-chan string, written chan<- struct{}) {
	out := bufio.NewWriter(os.Stdout)
	for line := range lines {
		fmt.Fprintln(out, line)
		if len(lines) == 0 {
			out.Flush()
		}
	}
	out.Flush()
	close(written)
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
