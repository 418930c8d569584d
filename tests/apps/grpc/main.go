// A gRPC service and its client without any instrumentation, and without generated code: all messages are
// google.protobuf.StringValue.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type text = wrapperspb.StringValue

type service struct {
	upstream *grpc.ClientConn
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to serve on")
	upstream := flag.String("upstream", "", "address that requests are relayed to; none by default")
	ask := flag.String("ask", "", "address to ask, instead of serving")
	method := flag.String("method", "Get", "what to ask for: Get, List or Fill")
	item := flag.String("item", "", "the item to ask for, if it is no number")
	count := flag.Int("count", 1, "how often to ask at once")
	first := flag.Int("first", 100001, "the first item's number")
	flag.Parse()
	if *ask != "" {
		call(dial(*ask), *method, *item, *first, *count)
		return
	}
	s := &service{}
	if *upstream != "" {
		s.upstream = dial(*upstream)
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	server.RegisterService(&description, s)
	log.Fatal(server.Serve(listener))
}

var description = grpc.ServiceDesc{
	ServiceName: "shop.Items",
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Get", Handler: get}},
	Streams: []grpc.StreamDesc{
		{StreamName: "List", Handler: list, ServerStreams: true},
		{StreamName: "Fill", Handler: fill, ClientStreams: true},
	},
}

func dial(address string) *grpc.ClientConn {
	connection, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	return connection
}

func get(s any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	asked := &text{}
	if err := decode(asked); err != nil {
		return nil, err
	}
	if asked.Value == "missing" {
		return nil, status.Error(codes.NotFound, "no such item")
	}
	answer := wrapperspb.String("item " + asked.Value)
	if upstream := s.(*service).upstream; upstream != nil {
		ctx = metadata.AppendToOutgoingContext(ctx, "x-number", asked.Value)
		return answer, upstream.Invoke(ctx, "/shop.Items/Get", asked, answer)
	}
	return answer, nil
}

func list(_ any, stream grpc.ServerStream) error {
	for item := range 3 {
		if err := stream.SendMsg(wrapperspb.String(fmt.Sprint("item ", item))); err != nil {
			return err
		}
	}
	return nil
}

func fill(_ any, stream grpc.ServerStream) error {
	count := 0
	for stream.RecvMsg(&text{}) == nil {
		count++
	}
	return stream.SendMsg(wrapperspb.String(fmt.Sprint(count)))
}

func call(connection *grpc.ClientConn, method, item string, first, count int) {
	ctx := context.Background()
	if method != "Get" {
		stream, err := connection.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/shop.Items/"+method)
		for part := 0; err == nil && part < count; part++ {
			err = stream.SendMsg(wrapperspb.String("part"))
		}
		if err == nil {
			err = stream.CloseSend()
		}
		for err == nil {
			err = stream.RecvMsg(&text{})
		}
		if err != io.EOF {
			log.Fatal(err)
		}
		return
	}
	var all sync.WaitGroup
	for number := first; number < first+count; number++ {
		all.Go(func() {
			asked := item
			if asked == "" {
				asked = fmt.Sprint(number)
			}
			ctx := metadata.AppendToOutgoingContext(ctx, "x-number", asked)
			err := connection.Invoke(ctx, "/shop.Items/Get", wrapperspb.String(asked), &text{})
			if err != nil && status.Code(err) != codes.NotFound {
				log.Fatal(err)
			}
		})
	}
	all.Wait()
}
