// A gRPC service over TLS, and a program that calls it, without any instrumentation and without generated code:
//
//	users-grpc serve ADDRESS KEY CERTIFICATE
//	users-grpc ask SERVER AUTHORITY FIRST COUNT IN-FLIGHT BEGIN
//
// Until the file BEGIN exists, user 0 is asked again and again, each time by a new connection.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func main() {
	run := ask
	if os.Args[1] == "serve" {
		run = serve
	}
	if err := run(os.Args[2:]); err != nil {
		log.Fatal(err)
	}
}

func serve(args []string) error {
	secure, err := credentials.NewServerTLSFromFile(args[2], args[1])
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	// Each user is a method, so that requests can be told apart.
	description := grpc.ServiceDesc{ServiceName: "shop.Users", HandlerType: (*any)(nil)}
	for user := range 1001 {
		method := grpc.MethodDesc{MethodName: fmt.Sprint("user_", user), Handler: echo}
		description.Methods = append(description.Methods, method)
	}
	server := grpc.NewServer(grpc.Creds(secure))
	server.RegisterService(&description, nil)
	return server.Serve(listener)
}

func echo(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	asked := &wrapperspb.StringValue{}
	return asked, decode(asked)
}

func ask(args []string) error {
	server := strings.TrimPrefix(args[0], "https://")
	secure, err := credentials.NewClientTLSFromFile(args[1], "")
	if err != nil {
		return err
	}
	open := func() (*grpc.ClientConn, error) {
		return grpc.NewClient("passthrough:///"+server, grpc.WithTransportCredentials(secure))
	}
	for !exists(args[5]) {
		connection, err := open()
		if err != nil {
			return err
		}
		if err := call(connection, 0); err != nil {
			return err
		}
		connection.Close()
		time.Sleep(50 * time.Millisecond)
	}
	connection, err := open()
	if err != nil {
		return err
	}
	defer connection.Close()
	return callAll(connection, number(args[2]), number(args[3]), number(args[4]))
}

func callAll(connection *grpc.ClientConn, first, count, inFlight int) error {
	var taken atomic.Int64
	var all sync.WaitGroup
	failures := make(chan error, inFlight)
	for range inFlight {
		all.Go(func() {
			for at := int(taken.Add(1)) - 1; at < count; at = int(taken.Add(1)) - 1 {
				if err := call(connection, first+at); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(failures)
	return <-failures
}

func call(connection *grpc.ClientConn, user int) error {
	method := fmt.Sprint("/shop.Users/user_", user)
	return connection.Invoke(context.Background(), method, wrapperspb.String("user"), &wrapperspb.StringValue{})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func number(text string) int {
	number, err := strconv.Atoi(text)
	if err != nil {
		log.Fatal(err)
	}
	return number
}
