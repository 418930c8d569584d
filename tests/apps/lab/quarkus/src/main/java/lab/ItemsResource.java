package lab;

import io.quarkus.redis.datasource.RedisDataSource;
import io.quarkus.redis.datasource.value.ValueCommands;
import jakarta.ws.rs.GET;
import jakarta.ws.rs.Path;
import jakarta.ws.rs.PathParam;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ThreadLocalRandom;
import javax.sql.DataSource;
import org.eclipse.microprofile.context.ManagedExecutor;
import org.eclipse.microprofile.rest.client.inject.RestClient;

@Path("/")
public class ItemsResource {
    private final DownService service;
    private final DataSource database;
    private final ValueCommands<String, String> cache;
    private final ManagedExecutor executor;

    public ItemsResource(
            @RestClient DownService service, DataSource database, RedisDataSource redis, ManagedExecutor executor) {
        this.service = service;
        this.database = database;
        this.cache = redis.value(String.class);
        this.executor = executor;
    }

    @GET
    @Path("healthz")
    public String healthz() {
        return "ok";
    }

    @GET
    @Path("paced/{id}")
    public Map<String, Object> work(@PathParam("id") long id) throws InterruptedException {
        Map<String, Object> down = service.down(id);
        pause();
        String name = name(id);
        pause();
        return Map.of("id", id, "down", down, "name", name, "cached", cached(id));
    }

    @GET
    @Path("await/{id}")
    public Map<String, Object> straight(@PathParam("id") long id) {
        return Map.of("id", id, "down", service.down(id), "name", name(id), "cached", cached(id));
    }

    @GET
    @Path("fan/{id}")
    public Map<String, Object> fan(@PathParam("id") long id) {
        CompletableFuture<Map<String, Object>> down = executor.supplyAsync(() -> service.down(id));
        CompletableFuture<String> name = executor.supplyAsync(() -> name(id));
        CompletableFuture<String> cached = executor.supplyAsync(() -> cached(id));
        return Map.of("id", id, "down", down.join(), "name", name.join(), "cached", cached.join());
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
        String value = cache.get("item:" + id);
        return value == null ? "" : value;
    }

    private static void pause() throws InterruptedException {
        Thread.sleep(ThreadLocalRandom.current().nextInt(1, 6));
    }
}
