package lab;

import java.util.List;
import java.util.Map;
import org.springframework.data.redis.core.StringRedisTemplate;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.stereotype.Service;
import org.springframework.web.client.RestClient;

/** What is known about an item elsewhere. */
@Service
public class Items {
    private final RestClient client;
    private final JdbcTemplate database;
    private final StringRedisTemplate cache;

    Items(RestClient client, JdbcTemplate database, StringRedisTemplate cache) {
        this.client = client;
        this.database = database;
        this.cache = cache;
    }

    public Map<?, ?> down(long id) {
        return client.get().uri("/down/{id}", id).retrieve().body(Map.class);
    }

    public String name(long id) {
        String statement = "SELECT name FROM items WHERE id = ? /* item " + id + " */";
        List<String> names = database.queryForList(statement, String.class, id);
        return names.isEmpty() ? "" : names.get(0);
    }

    public String cached(long id) {
        String value = cache.opsForValue().get("item:" + id);
        return value == null ? "" : value;
    }
}
