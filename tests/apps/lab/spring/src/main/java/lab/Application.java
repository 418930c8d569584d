package lab;

import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.web.client.RestClient;

@SpringBootApplication
public class Application {
    public static void main(String[] arguments) {
        SpringApplication.run(Application.class, arguments);
    }

    @Bean
    RestClient restClient(RestClient.Builder builder) {
        return builder.baseUrl(System.getenv("DOWN_URL")).build();
    }

    /** Runs what a request asks for at the same time. */
    @Bean(destroyMethod = "shutdown")
    ExecutorService calls() {
        return Executors.newFixedThreadPool(32);
    }
}
