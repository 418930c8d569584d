// Asks PostgreSQL by pgjdbc, which checks the server's certificate and name:
//   java -cp DRIVERS Pg.java URL AUTHORITY FIRST COUNT IN_FLIGHT BEGIN
// Until the file BEGIN exists it asks for user 0 again and again, each time by a new connection.

import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;

public class Pg {
    public static void main(String[] arguments) throws Exception {
        String url = "jdbc:postgresql://localhost:" + URI.create(arguments[0]).getPort()
                + "/postgres?user=postgres&sslmode=verify-full&sslrootcert=" + arguments[1];
        int first = Integer.parseInt(arguments[2]);
        int count = Integer.parseInt(arguments[3]);
        int inFlight = Integer.parseInt(arguments[4]);
        while (!Files.exists(Path.of(arguments[5]))) {
            try (Connection connection = DriverManager.getConnection(url)) {
                ask(connection, 0);
            }
            Thread.sleep(50);
        }
        AtomicInteger next = new AtomicInteger(first);
        ExecutorService threads = Executors.newFixedThreadPool(inFlight);
        List<Future<?>> workers = new ArrayList<>();
        for (int number = 0; number < inFlight; number++) {
            workers.add(threads.submit(() -> {
                try (Connection connection = DriverManager.getConnection(url)) {
                    for (int user = next.getAndIncrement(); user < first + count; user = next.getAndIncrement()) {
                        ask(connection, user);
                    }
                }
                return null;
            }));
        }
        for (Future<?> worker : workers) {
            worker.get();
        }
        threads.shutdown();
    }

    static void ask(Connection connection, int user) throws Exception {
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("SELECT 1 AS user_" + user)) {
            rows.next();
        }
    }
}
