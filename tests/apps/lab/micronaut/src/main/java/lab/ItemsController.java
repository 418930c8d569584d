package lab;

import io.lettuce.core.api.StatefulRedisConnection;
import io.micronaut.http.annotation.Controller;
import io.micronaut.http.annotation.Get;
import io.micronaut.http.client.HttpClient;
import io.micronaut.http.client.annotation.Client;
import io.micronaut.scheduling.TaskExecutors;
import io.micronaut.scheduling.annotation.ExecuteOn;
import jakarta.inject.Named;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.ThreadLocalRandom;
import javax.sql.DataSource;

@Controller
@ExecuteOn(TaskExecutors.BLOCKING)
public class ItemsController {
    private final HttpClient client;
    private final DataSource database;
    private final StatefulRedisConnection<String, String> cache;
    private final ExecutorService executor;

    public ItemsController(
            @Client("down") HttpClient client,
            DataSource database,
            StatefulRedisConnection<String, String> cache,
            @Named(TaskExecutors.IO) ExecutorService executor) {
        this.client = client;
        this.database = database;
        this.cache = cache;
        this.executor = executor;
    }

    @Get("/healthz")
    String healthz() {
        return "ok";
    }

    @Get("/paced/{id}")
    Map<String, Object> work(long id) throws InterruptedException {
        Map<?, ?> down = down(id);
        pause();
        String name = name(id);
        pause();
        return Map.of("id", id, "down", down, "name", name, "cached", cached(id));
    }

    @Get("/await/{id}")
    Map<String, Object> straight(long id) {
        return Map.of("id", id, "down", down(id), "name", name(id), "cached", cached(id));
    }

    @Get("/fan/{id}")
    Map<String, Object> fan(long id) {
        CompletableFuture<Map<?, ?>> down = CompletableFuture.supplyAsync(() -> down(id), executor);
        CompletableFuture<String> name = CompletableFuture.supplyAsync(() -> name(id), executor);
        CompletableFuture<String> cached = CompletableFuture.supplyAsync(() -> cached(id), executor);
        return Map.of("id", id, "down", down.join(), "name", name.join(), "cached", cached.join());
    }

    private Map<?, ?> down(long id) {
        return client.toBlocking().retrieve("/down/" + id, Map.class);
    }

    private String name(long id) {
        String statement = "SELECT name FROM items WHERE id = ? /* item " + id + " */";
        try (Connection connection = database.getConnection();
                PreparedStatement prepared = connection.prepareStatement(statement)) {
            prepared.setLong(1, id);
            try (ResultSet rows = prepared.executeQuery()) {
                return rows.next() ? rows.getString(1) : "";
            }
        } catch (SQLException error) {
            throw new IllegalStateException(error);
        }
    }

    private String cached(long id) {
        String value = cache.sync().get("item:" + id);
        return value == null ? "" : value;
    }

    private static void pause() throws InterruptedException {
        Thread.sleep(ThreadLocalRandom.current().nextInt(1, 6));
    }
}
