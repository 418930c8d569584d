package lab;

import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import org.springframework.context.annotation.Profile;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RestController;

/** Chains of CompletableFutures on a pool, answered by Tomcat's asynchronous dispatch. */
@RestController
@Profile("futures")
public class FuturesController {
    private final Items items;
    private final ExecutorService calls;

    FuturesController(Items items, ExecutorService calls) {
        this.items = items;
        this.calls = calls;
    }

    @GetMapping("/healthz")
    String healthz() {
        return "ok";
    }

    @GetMapping("/paced/{id}")
    CompletableFuture<Map<String, Object>> work(@PathVariable("id") long id) {
        return CompletableFuture.supplyAsync(() -> answer(id, "down", items.down(id)), calls)
                .thenApplyAsync(answer -> with(answer, "name", items.name(id)), later())
                .thenApplyAsync(answer -> with(answer, "cached", items.cached(id)), later());
    }

    @GetMapping("/await/{id}")
    CompletableFuture<Map<String, Object>> straight(@PathVariable("id") long id) {
        return CompletableFuture.supplyAsync(() -> answer(id, "down", items.down(id)), calls)
                .thenApplyAsync(answer -> with(answer, "name", items.name(id)), calls)
                .thenApplyAsync(answer -> with(answer, "cached", items.cached(id)), calls);
    }

    @GetMapping("/fan/{id}")
    CompletableFuture<Map<String, Object>> fan(@PathVariable("id") long id) {
        CompletableFuture<Map<?, ?>> down = CompletableFuture.supplyAsync(() -> items.down(id), calls);
        CompletableFuture<String> name = CompletableFuture.supplyAsync(() -> items.name(id), calls);
        CompletableFuture<String> cached = CompletableFuture.supplyAsync(() -> items.cached(id), calls);
        return CompletableFuture.allOf(down, name, cached)
                .thenApply(nothing -> with(with(answer(id, "down", down.join()), "name", name.join()),
                        "cached", cached.join()));
    }

    private Executor later() {
        return CompletableFuture.delayedExecutor(
                ThreadLocalRandom.current().nextInt(1, 6), TimeUnit.MILLISECONDS, calls);
    }

    private static Map<String, Object> answer(long id, String key, Object value) {
        return with(new HashMap<>(Map.of("id", id)), key, value);
    }

    private static Map<String, Object> with(Map<String, Object> answer, String key, Object value) {
        answer.put(key, value);
        return answer;
    }
}
