package lab;

import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Future;
import java.util.concurrent.ThreadLocalRandom;
import org.springframework.context.annotation.Profile;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RestController;

/** One thread works on a request from its beginning to its end. */
@RestController
@Profile("!futures")
public class BlockingController {
    private final Items items;
    private final ExecutorService calls;

    BlockingController(Items items, ExecutorService calls) {
        this.items = items;
        this.calls = calls;
    }

    @GetMapping("/healthz")
    String healthz() {
        return "ok";
    }

    @GetMapping("/paced/{id}")
    Map<String, Object> work(@PathVariable("id") long id) throws InterruptedException {
        Map<?, ?> down = items.down(id);
        pause();
        String name = items.name(id);
        pause();
        return Map.of("id", id, "down", down, "name", name, "cached", items.cached(id));
    }

    @GetMapping("/await/{id}")
    Map<String, Object> straight(@PathVariable("id") long id) {
        return Map.of("id", id, "down", items.down(id), "name", items.name(id), "cached", items.cached(id));
    }

    @GetMapping("/fan/{id}")
    Map<String, Object> fan(@PathVariable("id") long id) throws Exception {
        Future<Map<?, ?>> down = calls.submit(() -> items.down(id));
        Future<String> name = calls.submit(() -> items.name(id));
        Future<String> cached = calls.submit(() -> items.cached(id));
        return Map.of("id", id, "down", down.get(), "name", name.get(), "cached", cached.get());
    }

    private static void pause() throws InterruptedException {
        Thread.sleep(ThreadLocalRandom.current().nextInt(1, 6));
    }
}
