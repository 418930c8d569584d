package lab;

import java.time.Duration;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.data.redis.core.ReactiveStringRedisTemplate;
import org.springframework.r2dbc.core.DatabaseClient;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.reactive.function.client.WebClient;
import reactor.core.publisher.Mono;

@SpringBootApplication
public class Application {
    public static void main(String[] arguments) {
        SpringApplication.run(Application.class, arguments);
    }

    @Bean
    WebClient webClient(WebClient.Builder builder) {
        return builder.baseUrl(System.getenv("DOWN_URL")).build();
    }

    @RestController
    static class Controller {
        private final WebClient client;
        private final DatabaseClient database;
        private final ReactiveStringRedisTemplate cache;

        Controller(WebClient client, DatabaseClient database, ReactiveStringRedisTemplate cache) {
            this.client = client;
            this.database = database;
            this.cache = cache;
        }

        @GetMapping("/healthz")
        Mono<String> healthz() {
            return Mono.just("ok");
        }

        @GetMapping("/paced/{id}")
        Mono<Map<String, Object>> work(@PathVariable("id") long id) {
            return down(id).flatMap(down -> name(id).delaySubscription(pause())
                    .flatMap(name -> cached(id).delaySubscription(pause())
                            .map(cached -> answer(id, down, name, cached))));
        }

        @GetMapping("/await/{id}")
        Mono<Map<String, Object>> straight(@PathVariable("id") long id) {
            return down(id).flatMap(down -> name(id)
                    .flatMap(name -> cached(id).map(cached -> answer(id, down, name, cached))));
        }

        @GetMapping("/fan/{id}")
        Mono<Map<String, Object>> fan(@PathVariable("id") long id) {
            return Mono.zip(down(id), name(id), cached(id))
                    .map(all -> answer(id, all.getT1(), all.getT2(), all.getT3()));
        }

        private Mono<Map<?, ?>> down(long id) {
            return client.get().uri("/down/{id}", id).retrieve().bodyToMono(Map.class).map(body -> body);
        }

        private Mono<String> name(long id) {
            return database.sql("SELECT name FROM items WHERE id = $1 /* item " + id + " */")
                    .bind("$1", id)
                    .map(row -> row.get("name", String.class))
                    .one()
                    .defaultIfEmpty("");
        }

        private Mono<String> cached(long id) {
            return cache.opsForValue().get("item:" + id).defaultIfEmpty("");
        }

        private static Duration pause() {
            return Duration.ofMillis(ThreadLocalRandom.current().nextInt(1, 6));
        }

        private static Map<String, Object> answer(long id, Object down, String name, String cached) {
            return Map.of("id", id, "down", down, "name", name, "cached", cached);
        }
    }
}
