import io.grpc.CallOptions;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.ServerServiceDefinition;
import io.grpc.TlsChannelCredentials;
import io.grpc.TlsServerCredentials;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ServerCalls;
import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;

/** A gRPC service and its client over Netty's TLS: serve PORT KEY CERTIFICATE | ask SERVER AUTHORITY FIRST COUNT IN_FLIGHT BEGIN */
class Users {
    static final MethodDescriptor.Marshaller<byte[]> BYTES = new MethodDescriptor.Marshaller<>() {
        public InputStream stream(byte[] value) {
            return new ByteArrayInputStream(value);
        }

        public byte[] parse(InputStream stream) {
            try {
                return stream.readAllBytes();
            } catch (IOException failure) {
                throw new IllegalStateException(failure);
            }
        }
    };

    /** Each user is a method, so that requests can be told apart. */
    static MethodDescriptor<byte[], byte[]> method(int user) {
        return MethodDescriptor.newBuilder(BYTES, BYTES)
                .setType(MethodDescriptor.MethodType.UNARY)
                .setFullMethodName("shop.Users/user_" + user)
                .build();
    }

    public static void main(String[] args) throws Exception {
        if (args[0].equals("serve")) {
            serve(Integer.parseInt(args[1]), new File(args[2]), new File(args[3]));
        } else {
            ask(args);
        }
    }

    static void serve(int port, File key, File certificate) throws Exception {
        ServerServiceDefinition.Builder service = ServerServiceDefinition.builder("shop.Users");
        for (int user = 0; user <= 1000; user++) {
            service.addMethod(method(user), ServerCalls.asyncUnaryCall((request, answer) -> {
                answer.onNext(request);
                answer.onCompleted();
            }));
        }
        Grpc.newServerBuilderForPort(port, TlsServerCredentials.create(certificate, key))
                .addService(service.build())
                .build()
                .start()
                .awaitTermination();
    }

    static ManagedChannel open(String[] args) throws Exception {
        URI server = URI.create(args[1]);
        var trusting = TlsChannelCredentials.newBuilder().trustManager(new File(args[2])).build();
        return Grpc.newChannelBuilderForAddress("localhost", server.getPort(), trusting).build();
    }

    static void ask(String[] args) throws Exception {
        File begin = new File(args[6]);
        while (!begin.exists()) {
            ManagedChannel channel = open(args);
            ClientCalls.blockingUnaryCall(channel, method(0), CallOptions.DEFAULT, new byte[8]);
            channel.shutdownNow();
            Thread.sleep(50);
        }
        ManagedChannel channel = open(args);
        int first = Integer.parseInt(args[3]), end = first + Integer.parseInt(args[4]);
        AtomicInteger next = new AtomicInteger(first);
        List<Thread> threads = new ArrayList<>();
        for (int at = 0; at < Integer.parseInt(args[5]); at++) {
            Thread thread = new Thread(() -> {
                for (int user = next.getAndIncrement(); user < end; user = next.getAndIncrement()) {
                    ClientCalls.blockingUnaryCall(channel, method(user), CallOptions.DEFAULT, new byte[8]);
                }
            });
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) {
            thread.join();
        }
        channel.shutdownNow();
    }
}
