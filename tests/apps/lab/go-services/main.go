// Two programs: a service that asks gRPC, MySQL, MongoDB and Kafka for each request, and with -grpc the one it asks.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"log"
	"math/rand"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"github.com/segmentio/kafka-go"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
)

// down answers after a moment that differs from item to item, the same in each run.
type down struct {
	health.UnimplementedHealthServer
}

func (*down) Check(_ context.Context, request *health.HealthCheckRequest) (*health.HealthCheckResponse, error) {
	mixed := fnv.New32a()
	mixed.Write([]byte(request.Service))
	time.Sleep(time.Duration(mixed.Sum32()%3000) * time.Microsecond)
	return &health.HealthCheckResponse{Status: health.HealthCheckResponse_SERVING}, nil
}

func serve(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	health.RegisterHealthServer(server, &down{})
	return server.Serve(listener)
}

// items is what a handler needs.
type items struct {
	down     health.HealthClient
	database *sql.DB
	notes    *mongo.Collection
	events   *kafka.Writer
}

type answer struct {
	ID   int64  `json:"id"`
	Down string `json:"down"`
	Name string `json:"name"`
	Note string `json:"note"`
}

func (s *items) ask(ctx context.Context, id int64, result *answer) error {
	text := strconv.FormatInt(id, 10)
	ctx = metadata.AppendToOutgoingContext(ctx, "x-item", text)
	response, err := s.down.Check(ctx, &health.HealthCheckRequest{Service: text})
	if err == nil {
		result.Down = response.Status.String()
	}
	return err
}

func (s *items) name(ctx context.Context, id int64, result *answer) error {
	query := fmt.Sprintf("SELECT name FROM items WHERE id = ? /* item %d */", id)
	err := s.database.QueryRowContext(ctx, query, id).Scan(&result.Name)
	if err == sql.ErrNoRows {
		err = nil
	}
	return err
}

func (s *items) note(ctx context.Context, id int64, result *answer) error {
	var found struct{ Text string }
	err := s.notes.FindOne(ctx, bson.D{{Key: "item", Value: id}}).Decode(&found)
	if err == mongo.ErrNoDocuments {
		err = nil
	}
	result.Note = found.Text
	return err
}

func (s *items) tell(ctx context.Context, id int64, _ *answer) error {
	key := []byte(strconv.FormatInt(id, 10))
	return s.events.WriteMessages(ctx, kafka.Message{Key: key, Value: []byte(`{"seen":true}`)})
}

func pause() {
	time.Sleep(time.Millisecond + time.Duration(rand.Int63n(int64(4*time.Millisecond))))
}

type step func(ctx context.Context, id int64, result *answer) error

func (s *items) steps() []step {
	return []step{s.ask, s.name, s.note, s.tell}
}

func (s *items) sequential(ctx context.Context, id int64, between func()) (*answer, error) {
	result := &answer{ID: id}
	for _, step := range s.steps() {
		if err := step(ctx, id, result); err != nil {
			return nil, err
		}
		between()
	}
	return result, nil
}

func (s *items) fan(ctx context.Context, id int64) (*answer, error) {
	result := &answer{ID: id}
	errors := make([]error, len(s.steps()))
	var group sync.WaitGroup
	for number, step := range s.steps() {
		group.Add(1)
		go func() {
			defer group.Done()
			errors[number] = step(ctx, id, result)
		}()
	}
	group.Wait()
	for _, err := range errors {
		if err != nil {
			return nil, err
		}
	}
	return result, nil
}

func answerTo(writer http.ResponseWriter, request *http.Request, handle func(context.Context, int64) (*answer, error)) {
	id, err := strconv.ParseInt(request.PathValue("id"), 10, 64)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	result, err := handle(request.Context(), id)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusInternalServerError)
		return
	}
	writer.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(writer).Encode(result); err != nil {
		log.Print(err)
	}
}

func connect() (*items, error) {
	channel, err := grpc.NewClient(os.Getenv("GRPC_ADDRESS"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	database, err := sql.Open("mysql", os.Getenv("MYSQL_DSN"))
	if err != nil {
		return nil, err
	}
	database.SetMaxOpenConns(20)
	database.SetMaxIdleConns(20)
	client, err := mongo.Connect(options.Client().ApplyURI(os.Getenv("MONGODB_URL")))
	if err != nil {
		return nil, err
	}
	events := &kafka.Writer{
		Addr:         kafka.TCP(os.Getenv("KAFKA_ADDRESS")),
		Topic:        "items",
		BatchTimeout: time.Millisecond,
		RequiredAcks: kafka.RequireOne,

		AllowAutoTopicCreation: true,
	}
	return &items{
		down:     health.NewHealthClient(channel),
		database: database,
		notes:    client.Database("lab").Collection("notes"),
		events:   events,
	}, nil
}

func main() {
	address := flag.String("grpc", "", "serve gRPC here and nothing else")
	flag.Parse()
	if *address != "" {
		log.Fatal(serve(*address))
	}
	s, err := connect()
	if err != nil {
		log.Fatal(err)
	}
	router := http.NewServeMux()
	router.HandleFunc("GET /healthz", func(writer http.ResponseWriter, _ *http.Request) { fmt.Fprint(writer, "ok") })
	modes := map[string]func(context.Context, int64) (*answer, error){
		"paced": func(ctx context.Context, id int64) (*answer, error) { return s.sequential(ctx, id, pause) },
		"await": func(ctx context.Context, id int64) (*answer, error) { return s.sequential(ctx, id, func() {}) },
		"fan":   s.fan,
	}
	for name, handle := range modes {
		router.HandleFunc("GET /"+name+"/{id}", func(writer http.ResponseWriter, request *http.Request) {
			answerTo(writer, request, handle)
		})
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), router))
}
