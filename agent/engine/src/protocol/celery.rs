//! What Celery's workers tell each other every other second, over whichever broker.
//!
//! No protocol marks it: exchange and routing key are names of Celery's own (`celery.events`), which nobody else has
//! together. What workers say once, as they start or are asked something, is not meant.

const EXCHANGE: &str = "celeryev";
const HEARTBEAT: &str = "worker.heartbeat";

/// Returns whether a message is the heartbeat of a worker.
pub(super) fn is_heartbeat(exchange: &str, routing_key: &str) -> bool {
    exchange == EXCHANGE && routing_key == HEARTBEAT
}

/// Returns whether a channel of Redis carries them: `/0.celeryev/worker.heartbeat`, of database 0 (`kombu.transport.redis`).
pub(super) fn is_heartbeat_channel(channel: &[u8]) -> bool {
    let Ok(channel) = std::str::from_utf8(channel) else { return false };
    let Some((prefix, key)) = channel.rsplit_once('/') else { return false };
    let name = prefix.strip_prefix('/').and_then(|prefix| prefix.split_once('.'));
    name.is_some_and(|(database, exchange)| {
        database.bytes().all(|byte| byte.is_ascii_digit()) && is_heartbeat(exchange, key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_are_known_by_all_of_their_names() {
        assert!(is_heartbeat("celeryev", "worker.heartbeat"));
        for (exchange, key) in [("", "worker.heartbeat"), ("celeryev", "worker.online"), ("celeryev", "")] {
            assert!(!is_heartbeat(exchange, key), "{exchange} {key}");
        }
        for (channel, expected) in [
            ("/0.celeryev/worker.heartbeat", true),
            ("/15.celeryev/worker.heartbeat", true),
            ("/0.celeryev/worker.online", false),
            ("/x.celeryev/worker.heartbeat", false),
            ("celeryev/worker.heartbeat", false),
            ("worker.heartbeat", false),
            ("", false),
        ] {
            assert_eq!(is_heartbeat_channel(channel.as_bytes()), expected, "{channel}");
        }
        assert!(!is_heartbeat_channel(b"\xff/"));
    }
}
