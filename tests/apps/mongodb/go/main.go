// Writes, reads and fails by the driver for Go; the argument is the port.
package main

import (
	"context"
	"log"
	"os"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

func main() {
	ctx := context.Background()
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://127.0.0.1:" + os.Args[1]).SetMaxPoolSize(1))
	check(err)
	books := client.Database("library").Collection("books")
	_, err = books.InsertOne(ctx, bson.D{{Key: "_id", Value: 1}, {Key: "title", Value: "Emma"}})
	check(err)
	var found bson.D
	check(books.FindOne(ctx, bson.D{{Key: "title", Value: "Emma"}}).Decode(&found))
	if _, err = books.InsertOne(ctx, bson.D{{Key: "_id", Value: 1}}); !mongo.IsDuplicateKeyError(err) {
		log.Fatal("written twice: ", err)
	}
	check(books.Drop(ctx))
	check(client.Disconnect(ctx))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
