// Sends a record by Kafka's own clients and receives it: SERVER.

import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Shop {
    public static void main(String[] arguments) throws Exception {
        var text = new StringSerializer();
        Map<String, Object> sending = Map.of("bootstrap.servers", arguments[0], "client.id", "shop");
        try (var producer = new KafkaProducer<>(sending, text, text)) {
            producer.send(new ProducerRecord<>("java", "an order")).get();
        }
        Map<String, Object> receiving = Map.of(
                "bootstrap.servers", arguments[0], "client.id", "mailer", "group.id", "mailers",
                "auto.offset.reset", "earliest");
        var texts = new StringDeserializer();
        try (var consumer = new KafkaConsumer<>(receiving, texts, texts)) {
            consumer.subscribe(List.of("java"));
            while (consumer.poll(Duration.ofSeconds(1)).isEmpty()) {}
        }
    }
}
