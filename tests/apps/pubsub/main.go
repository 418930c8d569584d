// Google Pub/Sub in Go, without any instrumentation: the fake server of the client's own tests, and the client.
//
//	pubsub serve PORT
//	pubsub publish|receive PORT COUNT
//	pubsub golden PORT
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	project      = "golden"
	topic        = "projects/golden/topics/orders"
	subscription = "projects/golden/subscriptions/packing"
)

func main() {
	role, port := os.Args[1], os.Args[2]
	if role == "serve" {
		serve(port)
		return
	}
	check(os.Setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:"+port))
	ctx := context.Background()
	client, err := pubsub.NewClient(ctx, project)
	check(err)
	defer client.Close()
	switch role {
	case "golden":
		golden(ctx, client)
	case "publish":
		publish(ctx, client, number(os.Args[3]))
	case "receive":
		receive(ctx, client, number(os.Args[3]))
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func number(text string) int {
	number, err := strconv.Atoi(text)
	check(err)
	return number
}

func serve(port string) {
	server := pstest.NewServerWithAddress("127.0.0.1:" + port)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt)
	<-ended
	check(server.Close())
}

// Makes the topic and its subscription, unless another client has.
func create(ctx context.Context, client *pubsub.Client) {
	_, err := client.TopicAdminClient.CreateTopic(ctx, &pubsubpb.Topic{Name: topic})
	if status.Code(err) != codes.AlreadyExists {
		check(err)
	}
	_, err = client.SubscriptionAdminClient.CreateSubscription(ctx, &pubsubpb.Subscription{Name: subscription, Topic: topic})
	if status.Code(err) != codes.AlreadyExists {
		check(err)
	}
}

// Publishes one message after the other.
func publish(ctx context.Context, client *pubsub.Client, count int) {
	publisher := client.Publisher("orders")
	defer publisher.Stop()
	for item := range count {
		result := publisher.Publish(ctx, &pubsub.Message{Data: fmt.Appendf(nil, "order %d", item)})
		_, err := result.Get(ctx)
		check(err)
	}
}

// Receives so many messages; says when it begins, and what it received.
func receive(ctx context.Context, client *pubsub.Client, count int) {
	create(ctx, client)
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	var received atomic.Int64
	fmt.Println("ready")
	err := client.Subscriber("packing").Receive(ctx, func(_ context.Context, message *pubsub.Message) {
		message.Ack()
		fmt.Println(message.ID)
		if received.Add(1) == int64(count) {
			stop()
		}
	})
	check(err)
	if got := received.Load(); got != int64(count) {
		log.Fatalf("%d messages instead of %d", got, count)
	}
}

// All that is recorded.
func golden(ctx context.Context, client *pubsub.Client) {
	create(ctx, client)
	publisher := client.Publisher("orders")
	publisher.EnableMessageOrdering = true
	publisher.PublishSettings.CountThreshold = 3
	publisher.PublishSettings.DelayThreshold = time.Second
	publisher.PublishSettings.EnableCompression = true
	publisher.PublishSettings.CompressionBytesThreshold = 1000
	send := func(messages ...*pubsub.Message) {
		var results []*pubsub.PublishResult
		for _, message := range messages {
			results = append(results, publisher.Publish(ctx, message))
		}
		publisher.Flush()
		for _, result := range results {
			_, err := result.Get(ctx)
			check(err)
		}
	}
	send(&pubsub.Message{
		Data:        []byte("one order"),
		OrderingKey: "customer-7",
		Attributes: map[string]string{
			"kind":                   "order",
			"googclient_traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		},
	})
	three := func(text string) (messages []*pubsub.Message) {
		for item := range 3 {
			parent := fmt.Sprintf("00-4bf92f3577b34da6a3ce929d0e0e473%d-00f067aa0ba902b7-01", item)
			messages = append(messages, &pubsub.Message{Data: []byte(text), Attributes: map[string]string{"traceparent": parent}})
		}
		return
	}
	send(three("a part of a batch")...)
	pull := func() []string {
		answer, err := client.SubscriptionAdminClient.Pull(ctx, &pubsubpb.PullRequest{Subscription: subscription, MaxMessages: 10})
		check(err)
		var ids []string
		for _, received := range answer.ReceivedMessages {
			ids = append(ids, received.AckId)
		}
		return ids
	}
	modify := func(seconds int32, ids []string) {
		check(client.SubscriptionAdminClient.ModifyAckDeadline(ctx, &pubsubpb.ModifyAckDeadlineRequest{
			Subscription: subscription, AckIds: ids, AckDeadlineSeconds: seconds,
		}))
	}
	acknowledge := func(ids []string) {
		check(client.SubscriptionAdminClient.Acknowledge(ctx, &pubsubpb.AcknowledgeRequest{Subscription: subscription, AckIds: ids}))
	}
	for left := 4; left > 0; {
		ids := pull()
		modify(60, ids)
		acknowledge(ids)
		left -= len(ids)
	}
	send(&pubsub.Message{Data: []byte("one that is not wanted at first")})
	modify(0, pull())
	acknowledge(pull())
	// Compressed, and longer than one frame.
	send(three(strings.Repeat("a line of a long order\n", 2000))...)
	long, stop := context.WithTimeout(ctx, time.Minute)
	var received atomic.Int64
	check(client.Subscriber("packing").Receive(long, func(_ context.Context, message *pubsub.Message) {
		message.Ack()
		if received.Add(1) == 3 {
			stop()
		}
	}))
	publisher.Stop()
	missing := client.Publisher("missing")
	_, err := missing.Publish(ctx, &pubsub.Message{Data: []byte("to nobody")}).Get(ctx)
	if status.Code(err) != codes.NotFound {
		log.Fatal("published to a topic that does not exist: ", err)
	}
	missing.Stop()
}
