// Java's own TLS (JSSE) on both of its interfaces, from `java Jsse.java`:
//   engine PORT KEY CERTIFICATE          a server that answers /users/ID, on SSLEngine
//   socket PORT KEY CERTIFICATE          the same on SSLSocket
//   load PORT URL AUTHORITY              asks URL for users, by GET /WAY/FIRST/COUNT/IN_FLIGHT in clear text;
//                                        WAY is "engine" (HttpClient) or "socket" (HttpsURLConnection)
//   ask URL AUTHORITY FIRST COUNT IN_FLIGHT BEGIN
//                                        asks for user 0 until the file BEGIN is there, then for all, by HttpClient

import com.sun.net.httpserver.HttpServer;
import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
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
import javax.net.ssl.TrustManagerFactory;

public class Jsse {
    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("ask")) {
            ask(arguments);
            return;
        }
        int port = Integer.parseInt(arguments[1]);
        switch (arguments[0]) {
            case "engine" -> serveByEngine(port, server(arguments[2], arguments[3]));
            case "socket" -> serveBySocket(port, server(arguments[2], arguments[3]));
            default -> serveLoad(port, arguments[2], client(arguments[3]));
        }
    }

    static void serveByEngine(int port, SSLContext context) throws Exception {
        HttpsServer server = HttpsServer.create(new InetSocketAddress("127.0.0.1", port), 128);
        server.setHttpsConfigurator(new HttpsConfigurator(context));
        server.setExecutor(Executors.newFixedThreadPool(32));
        server.createContext("/users/", exchange -> {
            byte[] body = "found\n".getBytes(StandardCharsets.UTF_8);
            exchange.sendResponseHeaders(200, body.length);
            try (OutputStream out = exchange.getResponseBody()) {
                out.write(body);
            }
        });
        server.start();
    }

    static void serveBySocket(int port, SSLContext context) throws Exception {
        InetAddress host = InetAddress.getByName("127.0.0.1");
        try (var server = context.getServerSocketFactory().createServerSocket(port, 128, host)) {
            while (true) {
                Socket socket = server.accept();
                Thread thread = new Thread(() -> answer(socket));
                thread.setDaemon(true);
                thread.start();
            }
        }
    }

    static void answer(Socket socket) {
        byte[] answer = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nfound\n".getBytes(StandardCharsets.UTF_8);
        try (socket; InputStream in = socket.getInputStream(); OutputStream out = socket.getOutputStream()) {
            BufferedReader lines = new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8));
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                if (line.isEmpty()) {
                    out.write(answer);
                }
            }
        } catch (IOException gone) {
            // The client has closed the connection.
        }
    }

    static void serveLoad(int port, String url, SSLContext context) throws Exception {
        HttpsURLConnection.setDefaultSSLSocketFactory(context.getSocketFactory());
        HttpClient client = over(context);
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 8);
        server.createContext("/", exchange -> {
            String[] words = exchange.getRequestURI().getPath().split("/");
            Ask ask = words[1].equals("engine") ? user -> byClient(client, user) : Jsse::byConnection;
            int wrong = load(ask, url, Integer.parseInt(words[2]), Integer.parseInt(words[3]), Integer.parseInt(words[4]));
            exchange.sendResponseHeaders(wrong == 0 ? 200 : 500, -1);
            exchange.close();
        });
        server.start();
    }

    static HttpClient over(SSLContext context) {
        return HttpClient.newBuilder().sslContext(context).version(HttpClient.Version.HTTP_1_1).build();
    }

    static void ask(String[] arguments) throws Exception {
        String url = arguments[1];
        SSLContext context = client(arguments[2]);
        Path begin = Path.of(arguments[6]);
        while (!Files.exists(begin)) {
            byClient(over(context), url + "/users/0");
            Thread.sleep(50);
        }
        HttpClient client = over(context);
        int[] numbers = {Integer.parseInt(arguments[3]), Integer.parseInt(arguments[4]), Integer.parseInt(arguments[5])};
        int wrong = load(user -> byClient(client, user), url, numbers[0], numbers[1], numbers[2]);
        System.exit(wrong == 0 ? 0 : 1);
    }

    interface Ask {
        int ask(String url) throws Exception;
    }

    static int load(Ask ask, String url, int first, int count, int inFlight) {
        AtomicInteger next = new AtomicInteger(first);
        AtomicInteger wrong = new AtomicInteger();
        ExecutorService threads = Executors.newFixedThreadPool(inFlight);
        List<Future<?>> workers = new ArrayList<>();
        for (int number = 0; number < inFlight; number++) {
            workers.add(threads.submit(() -> {
                for (int user = next.getAndIncrement(); user < first + count; user = next.getAndIncrement()) {
                    try {
                        if (ask.ask(url + "/users/" + user) != 200) {
                            wrong.incrementAndGet();
                        }
                    } catch (Exception error) {
                        error.printStackTrace();
                        wrong.incrementAndGet();
                    }
                }
            }));
        }
        for (Future<?> worker : workers) {
            try {
                worker.get();
            } catch (Exception error) {
                wrong.incrementAndGet();
            }
        }
        threads.shutdown();
        return wrong.get();
    }

    static int byClient(HttpClient client, String url) throws Exception {
        return client.send(HttpRequest.newBuilder(URI.create(url)).build(), HttpResponse.BodyHandlers.ofString()).statusCode();
    }

    static int byConnection(String url) throws Exception {
        HttpURLConnection connection = (HttpURLConnection) URI.create(url).toURL().openConnection();
        try (InputStream in = connection.getInputStream()) {
            in.readAllBytes();
        }
        return connection.getResponseCode();
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
        try (InputStream in = Files.newInputStream(Path.of(path))) {
            return CertificateFactory.getInstance("X.509").generateCertificate(in);
        }
    }

    static PrivateKey key(String path) throws Exception {
        String text = Files.readString(Path.of(path)).replaceAll("-----[A-Z ]+-----|\\s", "");
        return KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(text)));
    }
}
