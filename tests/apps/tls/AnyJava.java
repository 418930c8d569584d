// Java's own TLS (JSSE) on both of its interfaces, in the language of Java 8, so that every JVM can run it:
//   serve WAY PORT KEY CERTIFICATE                             answers /users/ID
//   ask WAY SERVER AUTHORITY FIRST COUNT IN_FLIGHT BEGIN       asks for user 0 until the file BEGIN is there, then for all
// WAY is "engine" (SSLEngine over a channel) or "socket" (SSLSocket; asked by HttpsURLConnection).

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URL;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult;
import javax.net.ssl.SSLEngineResult.HandshakeStatus;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.TrustManagerFactory;

public class AnyJava {
    public static void main(String[] arguments) throws Exception {
        boolean isEngine = arguments[1].equals("engine");
        if (arguments[0].equals("serve")) {
            SSLContext context = server(arguments[3], arguments[4]);
            int port = Integer.parseInt(arguments[2]);
            if (isEngine) {
                serveByEngine(port, context);
            } else {
                serveBySocket(port, context);
            }
        } else {
            ask(isEngine, arguments);
        }
    }

    /** Plaintext in and out of a connection. */
    interface Stream extends AutoCloseable {
        int read(byte[] into) throws IOException;

        void write(byte[] bytes) throws IOException;

        void close() throws IOException;
    }

    /** An engine over a channel that blocks. */
    static class Engine implements Stream {
        final SocketChannel channel;
        final SSLEngine engine;
        final ByteBuffer sent = ByteBuffer.allocate(40_000);
        final ByteBuffer received = ByteBuffer.allocate(40_000);
        final ByteBuffer plain = ByteBuffer.allocate(40_000);

        Engine(SocketChannel channel, SSLEngine engine) throws IOException {
            this.channel = channel;
            this.engine = engine;
            received.flip();
            plain.flip();
            engine.beginHandshake();
            for (HandshakeStatus status = engine.getHandshakeStatus();
                    status != HandshakeStatus.NOT_HANDSHAKING;
                    status = engine.getHandshakeStatus()) {
                if (status == HandshakeStatus.NEED_WRAP) {
                    wrap(ByteBuffer.allocate(0));
                } else if (status == HandshakeStatus.NEED_TASK) {
                    engine.getDelegatedTask().run();
                } else if (!unwrap()) {
                    throw new IOException("the other end is gone");
                }
            }
        }

        void wrap(ByteBuffer bytes) throws IOException {
            sent.clear();
            engine.wrap(bytes, sent);
            sent.flip();
            while (sent.hasRemaining()) {
                channel.write(sent);
            }
        }

        /** Decrypts one record; false at the end. */
        boolean unwrap() throws IOException {
            while (true) {
                plain.compact();
                SSLEngineResult result = engine.unwrap(received, plain);
                plain.flip();
                if (result.getStatus() == SSLEngineResult.Status.CLOSED) {
                    return false;
                }
                if (result.getStatus() != SSLEngineResult.Status.BUFFER_UNDERFLOW) {
                    return true;
                }
                received.compact();
                int read = channel.read(received);
                received.flip();
                if (read < 0) {
                    return false;
                }
            }
        }

        public int read(byte[] into) throws IOException {
            while (!plain.hasRemaining()) {
                if (!unwrap()) {
                    return -1;
                }
            }
            int length = Math.min(into.length, plain.remaining());
            plain.get(into, 0, length);
            return length;
        }

        public void write(byte[] bytes) throws IOException {
            ByteBuffer left = ByteBuffer.wrap(bytes);
            while (left.hasRemaining()) {
                wrap(left);
            }
        }

        public void close() throws IOException {
            channel.close();
        }
    }

    static Stream over(Socket socket) throws IOException {
        InputStream in = socket.getInputStream();
        OutputStream out = socket.getOutputStream();
        return new Stream() {
            public int read(byte[] into) throws IOException {
                return in.read(into);
            }

            public void write(byte[] bytes) throws IOException {
                out.write(bytes);
            }

            public void close() throws IOException {
                socket.close();
            }
        };
    }

    static void serveByEngine(int port, SSLContext context) throws Exception {
        ServerSocketChannel server = ServerSocketChannel.open();
        server.bind(new InetSocketAddress("127.0.0.1", port), 128);
        while (true) {
            SocketChannel channel = server.accept();
            start(() -> {
                SSLEngine engine = context.createSSLEngine();
                engine.setUseClientMode(false);
                return new Engine(channel, engine);
            });
        }
    }

    static void serveBySocket(int port, SSLContext context) throws Exception {
        InetAddress host = InetAddress.getByName("127.0.0.1");
        SSLServerSocket server = (SSLServerSocket) context.getServerSocketFactory().createServerSocket(port, 128, host);
        while (true) {
            Socket socket = server.accept();
            start(() -> over(socket));
        }
    }

    interface Open {
        Stream open() throws IOException;
    }

    static void start(Open open) {
        Thread thread = new Thread(() -> {
            try (Stream stream = open.open()) {
                answer(stream);
            } catch (IOException gone) {
                // The client has closed the connection.
            }
        });
        thread.setDaemon(true);
        thread.start();
    }

    static final byte[] ANSWER = ascii("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nfound\n");

    static byte[] ascii(String text) {
        return text.getBytes(StandardCharsets.US_ASCII);
    }

    /** Answers one request after the other; their heads are all there is of them. */
    static void answer(Stream stream) throws IOException {
        byte[] bytes = new byte[8192];
        int ends = 0;
        for (int read = stream.read(bytes); read >= 0; read = stream.read(bytes)) {
            for (int at = 0; at < read; at++) {
                ends = bytes[at] == '\n' ? ends + 1 : bytes[at] == '\r' ? ends : 0;
                if (ends == 2) {
                    ends = 0;
                    stream.write(ANSWER);
                }
            }
        }
    }

    interface Ask {
        boolean ask(int user) throws Exception;
    }

    static void ask(boolean isEngine, String[] arguments) throws Exception {
        // As many connections are kept as there are requests under way.
        System.setProperty("http.maxConnections", arguments[6]);
        URL server = new URL(arguments[2]);
        SSLContext context = client(arguments[3]);
        HttpsURLConnection.setDefaultSSLSocketFactory(context.getSocketFactory());
        int first = Integer.parseInt(arguments[4]);
        int count = Integer.parseInt(arguments[5]);
        int inFlight = Integer.parseInt(arguments[6]);
        File begin = new File(arguments[7]);
        while (!begin.exists()) {
            try (Asker asker = new Asker(isEngine, server, context)) {
                asker.ask(0);
            }
            Thread.sleep(50);
        }
        AtomicInteger next = new AtomicInteger(first);
        ExecutorService threads = Executors.newFixedThreadPool(inFlight);
        List<Future<Integer>> workers = new ArrayList<>();
        for (int number = 0; number < inFlight; number++) {
            workers.add(threads.submit(() -> {
                int wrong = 0;
                try (Asker asker = new Asker(isEngine, server, context)) {
                    for (int user = next.getAndIncrement(); user < first + count; user = next.getAndIncrement()) {
                        wrong += asker.ask(user) ? 0 : 1;
                    }
                }
                return wrong;
            }));
        }
        int wrong = 0;
        for (Future<Integer> worker : workers) {
            wrong += worker.get();
        }
        threads.shutdown();
        System.exit(wrong == 0 ? 0 : 1);
    }

    /** Asks by a connection of its own, or by one of those that HttpsURLConnection keeps. */
    static class Asker implements AutoCloseable {
        final URL server;
        final Engine engine;

        Asker(boolean isEngine, URL server, SSLContext context) throws IOException {
            this.server = server;
            if (!isEngine) {
                engine = null;
                return;
            }
            SSLEngine made = context.createSSLEngine(server.getHost(), server.getPort());
            made.setUseClientMode(true);
            engine = new Engine(SocketChannel.open(new InetSocketAddress("127.0.0.1", server.getPort())), made);
        }

        boolean ask(int user) throws IOException {
            if (engine != null) {
                engine.write(ascii("GET /users/" + user + " HTTP/1.1\r\nHost: localhost\r\n\r\n"));
                StringBuilder answer = new StringBuilder();
                byte[] bytes = new byte[8192];
                while (answer.indexOf("found") < 0) {
                    int read = engine.read(bytes);
                    if (read < 0) {
                        return false;
                    }
                    answer.append(new String(bytes, 0, read, StandardCharsets.US_ASCII));
                }
                return answer.indexOf(" 200 ") > 0;
            }
            HttpURLConnection connection = (HttpURLConnection) new URL(server, "/users/" + user).openConnection();
            byte[] bytes = new byte[8192];
            try (InputStream in = connection.getInputStream()) {
                while (in.read(bytes) >= 0) {}
            }
            boolean isFound = connection.getResponseCode() == 200;
            if (user == 0) {
                // It would be kept, and is older than what is to be tried.
                connection.disconnect();
            }
            return isFound;
        }

        public void close() throws IOException {
            if (engine != null) {
                engine.close();
            }
        }
    }

    static SSLContext server(String key, String certificate) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        store.setKeyEntry("server", key(key), new char[0], new Certificate[] {certificate(certificate)});
        KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
        keys.init(store, new char[0]);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), null, null);
        return context;
    }

    static SSLContext client(String authority) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        store.setCertificateEntry("authority", certificate(authority));
        TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context;
    }

    static Certificate certificate(String path) throws Exception {
        try (InputStream in = Files.newInputStream(Paths.get(path))) {
            return CertificateFactory.getInstance("X.509").generateCertificate(in);
        }
    }

    static PrivateKey key(String path) throws Exception {
        String text = new String(Files.readAllBytes(Paths.get(path)), StandardCharsets.US_ASCII);
        String body = text.replaceAll("-----[A-Z ]+-----|\\s", "");
        return KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(body)));
    }
}
