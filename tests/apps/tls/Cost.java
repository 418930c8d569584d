// What it costs a thread to encrypt and decrypt a message by JSSE's engines: `java Cost.java KEY CERTIFICATE AUTHORITY BYTES`
// prints the time on the processor in nanoseconds for one wrap and unwrap, once for every 10,000. Bursts are short and
// have pauses between them, so that whoever looks on can follow.

import java.io.InputStream;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.concurrent.locks.LockSupport;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult.HandshakeStatus;
import javax.net.ssl.TrustManagerFactory;

public class Cost {
    static final int BURSTS = 250;
    static final int PAIRS = 40;
    static final long PAUSE_NS = 4_000_000;

    final SSLEngine client;
    final SSLEngine server;
    final ByteBuffer records = ByteBuffer.allocate(40_000);
    final ByteBuffer decrypted = ByteBuffer.allocate(40_000);

    Cost(SSLContext client, SSLContext server) throws Exception {
        this.client = client.createSSLEngine();
        this.client.setUseClientMode(true);
        this.server = server.createSSLEngine();
        this.server.setUseClientMode(false);
        ByteBuffer toServer = ByteBuffer.allocate(40_000);
        ByteBuffer toClient = ByteBuffer.allocate(40_000);
        this.client.beginHandshake();
        while (!isReady(this.client) || !isReady(this.server)) {
            step(this.client, toServer, toClient);
            step(this.server, toClient, toServer);
        }
        // Tickets that the server has sent behind its handshake.
        step(this.client, toServer, toClient);
    }

    static boolean isReady(SSLEngine engine) {
        return engine.getHandshakeStatus() == HandshakeStatus.NOT_HANDSHAKING && engine.getSession().isValid();
    }

    void step(SSLEngine engine, ByteBuffer out, ByteBuffer in) throws Exception {
        for (Runnable task = engine.getDelegatedTask(); task != null; task = engine.getDelegatedTask()) {
            task.run();
        }
        if (engine.getHandshakeStatus() == HandshakeStatus.NEED_WRAP) {
            engine.wrap(ByteBuffer.allocate(0), out);
        }
        in.flip();
        decrypted.clear();
        engine.unwrap(in, decrypted);
        in.compact();
    }

    void pair(byte[] message) throws Exception {
        records.clear();
        client.wrap(ByteBuffer.wrap(message), records);
        records.flip();
        decrypted.clear();
        server.unwrap(records, decrypted);
        if (decrypted.position() != message.length) {
            throw new IllegalStateException("it was not decrypted");
        }
    }

    public static void main(String[] arguments) throws Exception {
        Cost cost = new Cost(client(arguments[2]), server(arguments[0], arguments[1]));
        byte[] message = new byte[Integer.parseInt(arguments[3])];
        ThreadMXBean threads = ManagementFactory.getThreadMXBean();
        while (true) {
            long spent = 0;
            for (int burst = 0; burst < BURSTS; burst++) {
                long begin = threads.getCurrentThreadCpuTime();
                for (int pair = 0; pair < PAIRS; pair++) {
                    cost.pair(message);
                }
                spent += threads.getCurrentThreadCpuTime() - begin;
                LockSupport.parkNanos(PAUSE_NS);
            }
            System.out.println(spent / (BURSTS * PAIRS));
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
        try (InputStream in = Files.newInputStream(Path.of(path))) {
            return CertificateFactory.getInstance("X.509").generateCertificate(in);
        }
    }

    static PrivateKey key(String path) throws Exception {
        String text = Files.readString(Path.of(path)).replaceAll("-----[A-Z ]+-----|\\s", "");
        return KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(text)));
    }
}
