//! What is recorded: which clients, against which servers.

use std::process::Command;

use super::environment::{Environment, clients, program};
use super::proxy::Address;
use super::server::{Kind, Socket, kafka};
use super::speaker::{GRPC_JAVA, PUBSUB_GO, PUBSUB_NODE, PUBSUB_PYTHON, Speaker, TONIC};

/// A recording.
pub(super) struct Scenario {
    /// Folder and name of the files.
    pub(super) name: &'static str,
    /// Who speaks to the server.
    pub(super) speaker: Speaker,
    pub(super) server: Kind,
    pub(super) socket: Socket,
    /// Returns the programs that are run one after the other, given where the relay listens.
    pub(super) client: fn(&Environment, &Address) -> Vec<Command>,
}

const fn tcp(
    name: &'static str,
    speaker: Speaker,
    server: Kind,
    client: fn(&Environment, &Address) -> Vec<Command>,
) -> Scenario {
    Scenario { name, speaker, server, socket: Socket::Tcp, client }
}

/// Returns questions to dnsmasq, over UDP.
const fn udp(
    name: &'static str,
    speaker: Speaker,
    client: fn(&Environment, &Address) -> Vec<Command>,
) -> Scenario {
    Scenario { name, speaker, server: Kind::Dnsmasq, socket: Socket::Udp, client }
}

const fn unix(
    name: &'static str,
    speaker: Speaker,
    server: Kind,
    client: fn(&Environment, &Address) -> Vec<Command>,
) -> Scenario {
    Scenario { name, speaker, server, socket: Socket::Unix, client }
}

const DIG: Speaker = Speaker::program("dig", "dig");
const DNSPYTHON: Speaker = Speaker::python("dnspython", "dnspython");
const CURL: Speaker = Speaker::program("curl", "curl");
const NGHTTP: Speaker = Speaker::program("nghttp", "nghttp");
const GRPC_GO: Speaker = Speaker::go("grpc-go", "google.golang.org/grpc");
const GRPC_NODE: Speaker = Speaker::node("@grpc/grpc-js", "@grpc/grpc-js");
const GRPC_PYTHON: Speaker = Speaker::python("grpcio", "grpcio");
const PGBENCH: Speaker = Speaker::program("pgbench", "pgbench");
const GO_REDIS: Speaker = Speaker::go("go-redis", "github.com/redis/go-redis/v9");
const MONGO_GO: Speaker = Speaker::go("mongo-driver for Go", "go.mongodb.org/mongo-driver/v2");
const PYMONGO: Speaker = Speaker::python("pymongo", "pymongo");
const PSQL: Speaker = Speaker::program("psql", "psql");
const ASYNCPG: Speaker = Speaker::python("asyncpg", "asyncpg");
const CONNECTOR_PYTHON: Speaker = Speaker::python("Connector/Python", "mysql-connector-python");
const CONNECTOR_J: Speaker = Speaker::jdbc("Connector/J", "mysql-connector-j");
const GO_MYSQL: Speaker = Speaker::go("go-sql-driver", "github.com/go-sql-driver/mysql");
const MARIADB_CLI: Speaker = Speaker::program("mariadb", "mariadb");
const MARIADB_CONNECTOR_J: Speaker = Speaker::jdbc("MariaDB Connector/J", "mariadb-java-client");
const MYSQL2: Speaker = Speaker::node("mysql2", "mysql2");
const PGJDBC: Speaker = Speaker::jdbc("pgjdbc", "postgresql");
const PYMYSQL: Speaker = Speaker::python("PyMySQL", "PyMySQL");
const SQLCOMMENTER_PSYCOPG: Speaker =
    Speaker::python("sqlcommenter of OpenTelemetry for psycopg", "opentelemetry-instrumentation-psycopg");
const SQLCOMMENTER_PYMYSQL: Speaker =
    Speaker::python("sqlcommenter of OpenTelemetry for PyMySQL", "opentelemetry-instrumentation-pymysql");
const REDIS_BENCHMARK: Speaker = Speaker::program("redis-benchmark", "redis-benchmark");
const REDIS_CLI: Speaker = Speaker::program("redis-cli", "redis-cli");
const REDIS_PY: Speaker = Speaker::python("redis-py", "redis");

const CONFLUENT: Speaker = Speaker::python("confluent-kafka", "confluent-kafka");
const SARAMA: Speaker = Speaker::go_kafka("sarama", "github.com/IBM/sarama");

/// All recordings.
pub(super) const SCENARIOS: &[Scenario] = &[
    tcp("http1/curl-nginx", CURL, Kind::Nginx, |_, to| vec![curl_nginx(to)]),
    tcp("http1/curl-nginx-upgrade", CURL, Kind::Nginx, |_, to| {
        vec![curl(to, &["--http2", "/a.txt"]), curl(to, &["-0", "/a.txt"])]
    }),
    tcp("http1/raw-nginx", Speaker::program("Python socket", "python3"), Kind::Nginx, |environment, to| {
        vec![with_port(environment.python("http_raw.py"), to)]
    }),
    tcp("http1/curl-http-server", CURL, Kind::PythonHttp, |_, to| {
        vec![curl(to, &["/a.txt"]), curl(to, &["/missing"]), curl(to, &["-X", "DELETE", "/a.txt"])]
    }),
    tcp(
        "http1/requests-gunicorn",
        Speaker::python("requests", "requests"),
        Kind::Gunicorn,
        |environment, to| vec![with_port(environment.python("http_requests.py"), to)],
    ),
    tcp("http1/curl-gunicorn-refused", CURL, Kind::Gunicorn, |_, to| {
        vec![curl(to, &["-H", "Expect: 100-continue", "--data-binary", "0123456789", "/refused"])]
    }),
    tcp("http1/go-go", Kind::Go.speaker(), Kind::Go, |environment, to| {
        vec![with_port(environment.go("http"), to)]
    }),
    tcp("http1/node-node", Kind::Node.speaker(), Kind::Node, |environment, to| {
        let mut command = environment.node("http.js");
        command.arg("client");
        vec![with_port(command, to)]
    }),
    tcp("http2/curl-nginx", CURL, Kind::NginxHttp2, |_, to| {
        // This curl does not use such a connection twice.
        let known = "--http2-prior-knowledge";
        vec![curl(to, &[known, "/large.txt"]), curl(to, &[known, "--head", "/a.txt"])]
    }),
    tcp("http2/httpx-nginx", Speaker::python("httpx", "httpx"), Kind::NginxHttp2, |environment, to| {
        vec![with_port(environment.python("http2_httpx.py"), to)]
    }),
    tcp("http2/nghttp-nghttpd", NGHTTP, Kind::Nghttpd, |_, to| {
        let changing = &["--header-table-size=0", "--header-table-size=1000"];
        vec![
            nghttp(to, &["--multiply=100", "/a.txt"]),
            nghttp(to, &["--padding=255", "--weight=7", "--continuation", "--multiply=3", "/a.txt"]),
            nghttp(to, &[&changing[..], &["--multiply=3", "/missing", "/large.txt"]].concat()),
            nghttp(
                to,
                &["--padding=9", "--data", UPLOADED, "--trailer=sum: 1", "--expect-continue", "/echo"],
            ),
        ]
    }),
    tcp("http2/nghttp-nginx", NGHTTP, Kind::NginxHttp2, |_, to| {
        // More than it takes on a connection.
        vec![nghttp(to, &["--multiply=50", "--no-dep", "/a.txt"])]
    }),
    tcp("http1/nghttp-go-h2c", NGHTTP, Kind::GoHttp2, |_, to| {
        vec![nghttp(to, &["--upgrade", "--multiply=5", "--padding=77", "/a.txt", "/missing"])]
    }),
    tcp("http1/curl-go-h2c", CURL, Kind::GoHttp2, |_, to| vec![curl_h2c(to)]),
    tcp("mysql/pymysql", PYMYSQL, Kind::Mysql, |environment, to| {
        vec![with(environment.python("mysql_pymysql.py"), to, &["golden"])]
    }),
    tcp("mysql/pymysql-native", PYMYSQL, Kind::Mysql, |environment, to| {
        vec![with(environment.python("mysql_pymysql.py"), to, &["native"])]
    }),
    tcp("mysql/pymysql-mariadb", PYMYSQL, Kind::Mariadb, |environment, to| {
        vec![with(environment.python("mysql_pymysql.py"), to, &["golden"])]
    }),
    tcp("mysql/pymysql-refused", PYMYSQL, Kind::Mysql, |environment, to| {
        vec![with_port(environment.python("mysql_refused.py"), to)]
    }),
    tcp("mysql/connector-pure", CONNECTOR_PYTHON, Kind::Mysql, |environment, to| {
        vec![with(environment.python("mysql_connector.py"), to, &["native", "pure"])]
    }),
    tcp("mysql/connector-pure-compressed", CONNECTOR_PYTHON, Kind::Mysql, |environment, to| {
        vec![with(environment.python("mysql_connector.py"), to, &["native", "pure-compress"])]
    }),
    tcp("mysql/connector-c", CONNECTOR_PYTHON, Kind::Mysql, |environment, to| {
        vec![with(environment.python("mysql_connector.py"), to, &["native", "c"])]
    }),
    tcp("mysql/connector-c-compressed", CONNECTOR_PYTHON, Kind::Mysql, |environment, to| {
        vec![with(environment.python("mysql_connector.py"), to, &["native", "c-compress"])]
    }),
    tcp("mysql/connector-c-mariadb", CONNECTOR_PYTHON, Kind::Mariadb, |environment, to| {
        vec![with(environment.python("mysql_connector.py"), to, &["golden", "c"])]
    }),
    tcp("mysql/mysql2", MYSQL2, Kind::Mysql, |environment, to| {
        vec![with(environment.node("mysql.js"), to, &["golden"])]
    }),
    tcp("mysql/mysql2-compressed", MYSQL2, Kind::Mariadb, |environment, to| {
        vec![with(environment.node("mysql.js"), to, &["golden", "compress"])]
    }),
    tcp("mysql/go", GO_MYSQL, Kind::Mysql, |environment, to| {
        vec![with(environment.go("mysql"), to, &["golden", "interpolateParams=false"])]
    }),
    tcp("mysql/go-compressed", GO_MYSQL, Kind::Mariadb, |environment, to| {
        vec![with(environment.go("mysql"), to, &["golden", "compress=true&interpolateParams=true"])]
    }),
    tcp("mysql/connector-j", CONNECTOR_J, Kind::Mysql, |environment, to| {
        let options =
            "allowPublicKeyRetrieval=true&sslMode=DISABLED&useServerPrepStmts=true&useCursorFetch=true";
        vec![environment.jdbc(&mysql_url("mysql", to, options))]
    }),
    tcp("mysql/connector-j-text", CONNECTOR_J, Kind::Mariadb, |environment, to| {
        let options = "sslMode=DISABLED&rewriteBatchedStatements=true&useCompression=true";
        vec![environment.jdbc(&mysql_url("mysql", to, options))]
    }),
    tcp("mysql/mariadb-connector-j", MARIADB_CONNECTOR_J, Kind::Mariadb, |environment, to| {
        vec![environment.jdbc(&mysql_url("mariadb", to, "useServerPrepStmts=true&useBulkStmts=true"))]
    }),
    tcp("mysql/pymysql-commented", SQLCOMMENTER_PYMYSQL, Kind::Mariadb, |environment, to| {
        vec![with(environment.python("sql_commented.py"), to, &["pymysql"])]
    }),
    tcp("mysql/mariadb", MARIADB_CLI, Kind::Mariadb, |_, to| vec![mariadb(to, &["--skip-ssl"])]),
    tcp("mysql/mariadb-compressed", MARIADB_CLI, Kind::Mysql, |_, to| {
        vec![mariadb(to, &["--compress", "--skip-ssl", "--user=native"])]
    }),
    tcp("mysql/mariadb-encrypted", MARIADB_CLI, Kind::Mysql, |_, to| {
        vec![mariadb(to, &["--ssl", "--ssl-verify-server-cert=0", "--user=native"])]
    }),
    tcp("postgresql/asyncpg", ASYNCPG, Kind::Postgresql, |environment, to| {
        vec![with_port(environment.python("pg_asyncpg.py"), to)]
    }),
    tcp("postgresql/pgjdbc", PGJDBC, Kind::Postgresql, |environment, to| {
        let url = format!("jdbc:postgresql://{to}/golden?user=golden&password=golden&sslmode=disable");
        vec![environment.jdbc(&url)]
    }),
    tcp("http2/httpx-go", Speaker::python("httpx", "httpx"), Kind::GoHttp2, |environment, to| {
        vec![with_port(environment.python("http2_httpx.py"), to)]
    }),
    tcp("http2/go-go", Speaker::program("Go net/http", "go"), Kind::GoHttp2, |environment, to| {
        vec![with_port(environment.go("http2"), to)]
    }),
    tcp("http2/node-node", Speaker::program("Node.js http2", "node"), Kind::NodeHttp2, |environment, to| {
        let mut command = environment.node("http2.js");
        command.arg("call");
        vec![with_port(command, to)]
    }),
    tcp("http2/grpc-go-go", GRPC_GO, Kind::GoGrpc, |environment, to| {
        vec![with_port(environment.go("grpc"), to)]
    }),
    tcp("http2/grpc-python-go", GRPC_PYTHON, Kind::GoGrpc, grpc_python),
    tcp("http2/grpc-node-go", GRPC_NODE, Kind::GoGrpc, grpc_node),
    tcp("http2/grpc-java-go", GRPC_JAVA, Kind::GoGrpc, |environment, to| {
        let mut command = environment.java("GrpcShop.java");
        command.arg("call");
        vec![with_port(command, to)]
    }),
    tcp("http2/grpc-python-java", GRPC_PYTHON, Kind::JavaGrpc, grpc_python),
    tcp("http2/grpc-go-python", GRPC_GO, Kind::PythonGrpc, |environment, to| {
        let mut command = with_port(environment.go("grpc"), to);
        command.env("BROKEN", "UNKNOWN");
        vec![command]
    }),
    tcp("http2/grpc-python-python", GRPC_PYTHON, Kind::PythonGrpc, |environment, to| {
        let mut commands = grpc_python(environment, to);
        for command in &mut commands {
            command.env("BROKEN", "UNKNOWN");
        }
        commands
    }),
    tcp("http2/grpc-python-node", GRPC_PYTHON, Kind::NodeGrpc, grpc_python),
    tcp("http2/grpc-node-node", GRPC_NODE, Kind::NodeGrpc, grpc_node),
    tcp("http2/grpc-tonic-tonic", TONIC, Kind::TonicGrpc, |environment, to| {
        vec![with_port(environment.tonic("call"), to)]
    }),
    tcp("http2/grpc-tonic-go", TONIC, Kind::GoGrpc, |environment, to| {
        vec![with_port(environment.tonic("call"), to)]
    }),
    tcp("http2/pubsub-go", PUBSUB_GO, Kind::PubSub, |environment, to| {
        vec![with_port(environment.pubsub_go("golden"), to)]
    }),
    tcp("http2/pubsub-python", PUBSUB_PYTHON, Kind::PubSub, |environment, to| {
        vec![with_port(environment.pubsub_python("golden"), to)]
    }),
    tcp("http2/pubsub-node", PUBSUB_NODE, Kind::PubSub, |environment, to| {
        vec![with_port(environment.pubsub_node("golden"), to)]
    }),
    tcp("http1/ws-live", Speaker::node("ws", "ws"), Kind::NodeLive, |environment, to| {
        vec![live(environment.node("live.js"), "chat", to)]
    }),
    tcp("http1/ws-uvicorn", Speaker::python("websockets", "websockets"), Kind::Uvicorn, |environment, to| {
        vec![live(environment.python("live.py"), "chat", to)]
    }),
    tcp(
        "http1/gorilla-live",
        Speaker::go("gorilla/websocket", "github.com/gorilla/websocket"),
        Kind::NodeLive,
        |environment, to| vec![with_port(environment.go("chat"), to)],
    ),
    tcp(
        "http1/eventsource-live",
        Speaker::node("eventsource", "eventsource"),
        Kind::NodeLive,
        |environment, to| vec![live(environment.node("live.js"), "follow", to)],
    ),
    tcp(
        "http1/httpx-sse-uvicorn",
        Speaker::python("httpx-sse", "httpx-sse"),
        Kind::Uvicorn,
        |environment, to| vec![live(environment.python("live.py"), "follow", to)],
    ),
    tcp(
        "http1/graphql-request-live",
        Speaker::node("graphql-request", "graphql-request"),
        Kind::NodeLive,
        |environment, to| vec![live(environment.node("live.js"), "ask", to)],
    ),
    tcp("http1/gql-uvicorn", Speaker::python("gql", "gql"), Kind::Uvicorn, |environment, to| {
        vec![live(environment.python("live.py"), "ask", to)]
    }),
    tcp(
        "http2/httpx-sse-hypercorn",
        Speaker::python("httpx-sse", "httpx-sse"),
        Kind::Hypercorn,
        |environment, to| vec![live(environment.python("live.py"), "follow-http2", to)],
    ),
    tcp(
        "http2/httpx-sse-node",
        Speaker::python("httpx-sse", "httpx-sse"),
        Kind::NodeLiveHttp2,
        |environment, to| vec![live(environment.python("live.py"), "follow-http2", to)],
    ),
    tcp("http2/gql-hypercorn", Speaker::python("gql", "gql"), Kind::Hypercorn, |environment, to| {
        vec![live(environment.python("live.py"), "ask-http2", to)]
    }),
    tcp("http2/gql-node", Speaker::python("gql", "gql"), Kind::NodeLiveHttp2, |environment, to| {
        vec![live(environment.python("live.py"), "ask-http2", to)]
    }),
    tcp(
        "http2/ws-hypercorn",
        Speaker::node("Node.js http2 with ws", "ws"),
        Kind::Hypercorn,
        |environment, to| vec![live(environment.node("live.js"), "chat-http2", to)],
    ),
    udp("dns/dig-udp", DIG, |_, to| vec![dig(to, &[]), dig(to, &["+bufsize=4096", "+dnssec"])]),
    tcp("dns/dig-tcp", DIG, Kind::Dnsmasq, |_, to| vec![dig(to, &["+tcp", "+keepopen"])]),
    udp("dns/dnspython-udp", DNSPYTHON, |environment, to| vec![dnspython(environment, "udp", to)]),
    tcp("dns/dnspython-tcp", DNSPYTHON, Kind::Dnsmasq, |environment, to| {
        vec![dnspython(environment, "tcp", to)]
    }),
    udp("dns/c-ares-udp", Speaker::program("Node.js c-ares", "node"), |environment, to| {
        vec![with_port(environment.node("dns.js"), to)]
    }),
    udp("dns/go-udp", Speaker::program("Go net", "go"), |environment, to| {
        vec![with_port(environment.go("resolve"), to)]
    }),
    tcp("postgresql/psql", PSQL, Kind::Postgresql, |_, to| vec![psql(to)]),
    unix("postgresql/psql-unix", PSQL, Kind::Postgresql, |_, to| vec![psql(to)]),
    tcp("postgresql/psycopg", Speaker::python("psycopg", "psycopg"), Kind::Postgresql, |environment, to| {
        vec![with_port(environment.python("pg_psycopg.py"), to)]
    }),
    tcp(
        "postgresql/psycopg-newest",
        Speaker::python("psycopg", "psycopg"),
        Kind::PostgresqlNewest,
        |environment, to| {
            let mut command = with_port(environment.python("pg_psycopg.py"), to);
            command.env("PGMAXPROTOCOLVERSION", "latest");
            vec![command]
        },
    ),
    tcp("postgresql/asyncpg-newest", ASYNCPG, Kind::PostgresqlNewest, |environment, to| {
        vec![with_port(environment.python("pg_asyncpg.py"), to)]
    }),
    tcp(
        "postgresql/psycopg-refused",
        Speaker::python("psycopg", "psycopg"),
        Kind::Postgresql,
        |environment, to| vec![with_port(environment.python("pg_refused.py"), to)],
    ),
    tcp("postgresql/psycopg-commented", SQLCOMMENTER_PSYCOPG, Kind::Postgresql, |environment, to| {
        vec![with(environment.python("sql_commented.py"), to, &["psycopg"])]
    }),
    tcp(
        "postgresql/pgx",
        Speaker::go("pgx", "github.com/jackc/pgx/v5"),
        Kind::Postgresql,
        |environment, to| vec![with_port(environment.go("pgx"), to)],
    ),
    tcp("postgresql/node", Speaker::node("node-postgres", "pg"), Kind::Postgresql, |environment, to| {
        vec![with_port(environment.node("pg.js"), to)]
    }),
    tcp("postgresql/pgbench", PGBENCH, Kind::Postgresql, |_, to| {
        vec![pgbench(to, "simple"), pgbench(to, "extended"), pgbench(to, "prepared")]
    }),
    tcp("redis/redis-cli", REDIS_CLI, Kind::Redis, |_, to| {
        let port = to.port().to_string();
        let commands: &[&[&str]] = &[
            &["SET", "greeting", "hello world"],
            &["LPUSH", "greeting", "x"],
            &["-n", "3", "MSET", "a", "1", "b", "2"],
            &["--user", "nobody", "--pass", "secret", "GET", "a"],
        ];
        commands.iter().map(|command| redis_cli(&["-p", &port], command)).collect()
    }),
    unix("redis/redis-cli-unix", REDIS_CLI, Kind::Redis, |_, to| {
        vec![redis_cli(&["-3", "-s", &to.to_string()], &["CONFIG", "GET", "maxmemory*"])]
    }),
    tcp("redis/redis-py-2", REDIS_PY, Kind::Redis, |environment, to| {
        redis_py(environment, "redis_py.py", to, "2")
    }),
    tcp("redis/redis-py-3", REDIS_PY, Kind::Redis, |environment, to| {
        redis_py(environment, "redis_py.py", to, "3")
    }),
    tcp("redis/queues-2", REDIS_PY, Kind::Redis, |environment, to| {
        redis_py(environment, "redis_queues.py", to, "2")
    }),
    tcp("redis/queues-3", REDIS_PY, Kind::Redis, |environment, to| {
        redis_py(environment, "redis_queues.py", to, "3")
    }),
    tcp("redis/pubsub-2", REDIS_PY, Kind::Redis, |environment, to| {
        redis_py(environment, "redis_pubsub.py", to, "2")
    }),
    tcp("redis/pubsub-3", REDIS_PY, Kind::Redis, |environment, to| {
        redis_py(environment, "redis_pubsub.py", to, "3")
    }),
    tcp("redis/ioredis", Speaker::node("ioredis", "ioredis"), Kind::Redis, |environment, to| {
        vec![with_port(environment.node("redis.js"), to)]
    }),
    tcp("redis/redis-benchmark", REDIS_BENCHMARK, Kind::Redis, |_, to| {
        let mut command = program("redis-benchmark");
        command.args(["-p", &to.port().to_string(), "-c", "1", "-n", "32", "-P", "16", "-q"]);
        command.args(["-t", "ping,set,get,incr"]);
        vec![command]
    }),
    tcp("kafka/confluent", CONFLUENT, Kind::Kafka, |environment, to| {
        vec![with_role(environment.python("kafka_confluent.py"), to, "plain")]
    }),
    tcp("kafka/confluent-sasl", CONFLUENT, Kind::KafkaSasl, |environment, to| {
        vec![with_role(environment.python("kafka_confluent.py"), to, "sasl")]
    }),
    tcp("kafka/python", Speaker::python("kafka-python", "kafka-python"), Kind::Kafka, |environment, to| {
        vec![with_port(environment.python("kafka_python.py"), to)]
    }),
    tcp("kafka/aio", Speaker::python("aiokafka", "aiokafka"), Kind::Kafka, |environment, to| {
        vec![with_port(environment.python("kafka_aio.py"), to)]
    }),
    tcp("kafka/node", Speaker::node("kafkajs", "kafkajs"), Kind::Kafka, |environment, to| {
        vec![with_port(environment.node("kafka.js"), to)]
    }),
    tcp("kafka/java", Speaker::fixed("kafka-clients", kafka::VERSION), Kind::Kafka, |_, to| {
        vec![with_port(kafka_java(), to)]
    }),
    tcp(
        "kafka/franz",
        Speaker::go_kafka("franz-go", "github.com/twmb/franz-go"),
        Kind::Kafka,
        |environment, to| vec![with_port(environment.go_kafka("franz"), to)],
    ),
    tcp("kafka/sarama", SARAMA, Kind::Kafka, |environment, to| {
        vec![with_port(environment.go_kafka("sarama"), to)]
    }),
    tcp("kafka/sarama-old", SARAMA, Kind::KafkaOlder, |environment, to| {
        vec![with_port(environment.go_kafka("sarama-old"), to)]
    }),
    tcp(
        "kafka/segmentio",
        Speaker::go_kafka("segmentio/kafka-go", "github.com/segmentio/kafka-go"),
        Kind::Kafka,
        |environment, to| vec![with_port(environment.go_kafka("segmentio"), to)],
    ),
    tcp("amqp/pika", Speaker::python("pika", "pika"), Kind::Rabbitmq, |environment, to| {
        vec![with_port(environment.python("amqp_pika.py"), to)]
    }),
    tcp("amqp/kombu", Speaker::python("kombu", "kombu"), Kind::Rabbitmq, |environment, to| {
        vec![with_port(environment.python("amqp_kombu.py"), to)]
    }),
    tcp("amqp/celery", Speaker::python("Celery", "celery"), Kind::Rabbitmq, |environment, to| {
        vec![with_port(environment.python("amqp_celery.py"), to)]
    }),
    tcp("amqp/amqplib", Speaker::node("amqplib", "amqplib"), Kind::Rabbitmq, |environment, to| {
        vec![with_port(environment.node("amqp.js"), to)]
    }),
    tcp(
        "amqp/amqp091-go",
        Speaker::go("amqp091-go", "github.com/rabbitmq/amqp091-go"),
        Kind::Rabbitmq,
        |environment, to| vec![with_port(environment.go("amqp"), to)],
    ),
    tcp("nats/nats-py", Speaker::python("nats-py", "nats-py"), Kind::Nats, |environment, to| {
        vec![with_port(environment.python("nats_clients.py"), to)]
    }),
    tcp("nats/nats-node", Speaker::node("nats.js", "nats"), Kind::Nats, |environment, to| {
        vec![with_port(environment.node("nats.js"), to)]
    }),
    tcp(
        "nats/nats-go",
        Speaker::go("nats.go", "github.com/nats-io/nats.go"),
        Kind::Nats,
        |environment, to| vec![with_port(environment.go("nats"), to)],
    ),
    tcp("redis/streams-2", REDIS_PY, Kind::Redis, |environment, to| {
        redis_py(environment, "redis_streams.py", to, "2")
    }),
    tcp("redis/streams-3", REDIS_PY, Kind::Redis, |environment, to| {
        redis_py(environment, "redis_streams.py", to, "3")
    }),
    tcp("redis/tracking", REDIS_PY, Kind::Redis, |environment, to| {
        vec![with_port(environment.python("redis_tracking.py"), to)]
    }),
    tcp("redis/cluster", REDIS_PY, Kind::RedisCluster, |environment, to| {
        redis_py(environment, "redis_cluster.py", to, "move")
    }),
    tcp(
        "redis/ioredis-cluster",
        Speaker::node("ioredis", "ioredis"),
        Kind::RedisCluster,
        |environment, to| {
            let announce = with_word(environment.python("redis_cluster.py"), to, "announce");
            vec![announce, with_port(environment.node("redis-cluster.js"), to)]
        },
    ),
    tcp("redis/go-redis", GO_REDIS, Kind::Redis, |environment, to| {
        vec![with_port(environment.go("redis"), to)]
    }),
    tcp("redis/go-redis-cluster", GO_REDIS, Kind::RedisCluster, |environment, to| {
        let announce = with_word(environment.python("redis_cluster.py"), to, "announce");
        vec![announce, with_port(environment.go("redis-cluster"), to)]
    }),
    tcp("mongodb/pymongo", PYMONGO, Kind::FerretDb, |environment, to| {
        let parts = ["reads", "writes", "looks", "large", "sign_in"];
        parts.iter().map(|part| with_word(environment.python("mongo_py.py"), to, part)).collect()
    }),
    tcp("mongodb/pymongo-snappy", PYMONGO, Kind::FerretDbFront, |environment, to| {
        let mut command = with_word(environment.python("mongo_py.py"), to, "large");
        command.arg("snappy");
        vec![command]
    }),
    tcp("mongodb/pymongo-exhaust", PYMONGO, Kind::FerretDbFront, |environment, to| {
        vec![with_port(environment.python("mongo_exhaust.py"), to)]
    }),
    tcp("mongodb/pymongo-async", PYMONGO, Kind::FerretDb, |environment, to| {
        vec![with_word(environment.python("mongo_async.py"), to, "pymongo")]
    }),
    tcp("mongodb/motor", Speaker::python("Motor", "motor"), Kind::FerretDb, |environment, to| {
        vec![with_word(environment.python("mongo_async.py"), to, "motor")]
    }),
    tcp("mongodb/node", Speaker::node("mongodb for Node", "mongodb"), Kind::FerretDb, |environment, to| {
        vec![with_port(environment.node("mongo.js"), to)]
    }),
    tcp(
        "mongodb/node-zlib",
        Speaker::node("mongodb for Node", "mongodb"),
        Kind::FerretDbFront,
        |environment, to| vec![with_word(environment.node("mongo.js"), to, "zlib")],
    ),
    tcp("mongodb/go", MONGO_GO, Kind::FerretDb, |environment, to| {
        vec![with_port(environment.go("mongo"), to)]
    }),
    tcp("mongodb/go-zstd", MONGO_GO, Kind::FerretDbFront, |environment, to| {
        vec![with_word(environment.go("mongo"), to, "zstd")]
    }),
];

fn with_port(mut command: Command, to: &Address) -> Command {
    command.arg(to.port().to_string());
    command
}

fn with_role(command: Command, to: &Address, role: &str) -> Command {
    let mut command = with_port(command, to);
    command.arg(role);
    command
}

/// Returns the client in Java, which is compiled as it is started.
fn kafka_java() -> Command {
    let mut command = program("java");
    command
        .arg("-cp")
        .arg(kafka::libraries(kafka::VERSION))
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=off");
    command.arg(clients().join("java/KafkaClient.java"));
    command
}

fn with(command: Command, to: &Address, arguments: &[&str]) -> Command {
    let mut command = with_port(command, to);
    command.args(arguments);
    command
}

/// Returns the URL for a driver of MySQL with these options.
fn mysql_url(scheme: &str, to: &Address, options: &str) -> String {
    format!("jdbc:{scheme}://{to}/golden?user=golden&password=golden&allowMultiQueries=true&{options}")
}

/// Everything that MariaDB's own client says on one connection.
fn mariadb(to: &Address, options: &[&str]) -> Command {
    let mut command = program("mariadb");
    command.args(["--no-defaults", "--host=127.0.0.1", "--user=golden", "--password=golden", "--batch"]);
    command.arg(format!("--port={}", to.port())).args(options).args([
        "--silent",
        "--force",
        "--show-warnings",
    ]);
    command.args(["--init-command=SET NAMES utf8mb4", "golden", "--execute"]);
    command.arg(
        "/*!40101 SET @old = 1 */; CREATE TEMPORARY TABLE `long` (id int, name varchar(40));\n\
         INSERT INTO `long` SELECT seq, REPEAT('x', 40) FROM (SELECT 1 seq UNION SELECT 2) s;\n\
         SELECT * FROM `long` a, `long` b, `long` c WHERE a.name <> \"secret\"; -- a remark\n\
         USE mysql; SELECT COUNT(*) FROM user; SELECT * FROM missing; EXPLAIN SELECT 1; status;",
    );
    command.stdout(std::process::Stdio::null());
    // The statement that fails makes the program fail at its end.
    within(&["sh", "-c", "\"$@\" || test $? = 1", "sh"], &command)
}

/// Returns curl with these options; those that begin with a slash are paths.
fn curl(to: &Address, options: &[&str]) -> Command {
    let mut command = program("curl");
    command.args(["--silent", "--show-error", "--noproxy", "*"]);
    for option in options {
        match option.starts_with('/') {
            true => command.arg(format!("http://{to}{option}")).args(["--output", "/dev/null"]),
            false => command.arg(option),
        };
    }
    command
}

/// A file that is on every host that can run this.
const UPLOADED: &str = "/etc/protocols";

/// Returns nghttp with these options; those that begin with a slash, other than the file that it sends, are paths.
fn nghttp(to: &Address, options: &[&str]) -> Command {
    let mut command = program("nghttp");
    command.args(["--null-out", "--timeout=5"]);
    for option in options {
        match option.starts_with('/') && *option != UPLOADED {
            true => command.arg(format!("http://{to}{option}")),
            false => command.arg(option),
        };
    }
    command
}

fn grpc_python(environment: &Environment, to: &Address) -> Vec<Command> {
    let mut command = environment.python("grpc_shop.py");
    command.arg("call");
    vec![with_port(command, to)]
}

fn grpc_node(environment: &Environment, to: &Address) -> Vec<Command> {
    let mut command = environment.node("grpc.js");
    command.arg("call");
    vec![with_port(command, to)]
}

/// Requests of curl on one connection, which goes on by HTTP/2 after the first.
fn curl_h2c(to: &Address) -> Command {
    let context = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let version = "--http2";
    let mut command = curl(to, &[version, "-H", context, "/users/1?a=b&sig=secret"]);
    let requests: &[&[&str]] =
        &[&["/a.txt"], &["--head", "/a.txt"], &["/missing"], &["/large.txt"], &["--data", "a=b", "/echo"]];
    for request in requests {
        command.args(["--next", "--silent", "--show-error", "--noproxy", "*", version]);
        for option in *request {
            match option.starts_with('/') {
                true => command.arg(format!("http://{to}{option}")).args(["--output", "/dev/null"]),
                false => command.arg(option),
            };
        }
    }
    command
}

/// Questions of all kinds; the same again over TCP on one connection.
fn dig(to: &Address, options: &[&str]) -> Command {
    let mut command = program("dig");
    command
        .args(["@127.0.0.1", "-p", &to.port().to_string(), "+tries=1", "+timeout=2", "+ignore"])
        .args(options);
    for question in [
        &["www.golden.test", "A"][..],
        &["alias.golden.test", "AAAA"],
        &["missing.golden.test", "A"],
        &["elsewhere.example", "HTTPS"],
        &["golden.test", "MX"],
        &["big.golden.test", "TXT"],
        &["-x", "192.0.2.1"],
    ] {
        command.args(question);
    }
    command
}

fn dnspython(environment: &Environment, transport: &str, to: &Address) -> Command {
    let mut command = environment.python("dns_dnspython.py");
    command.arg(transport);
    with_port(command, to)
}

fn live(mut command: Command, role: &str, to: &Address) -> Command {
    command.arg(role);
    with_port(command, to)
}

/// Everything that nginx and curl say on one connection.
fn curl_nginx(to: &Address) -> Command {
    let context = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut command = curl(to, &["-H", context, "/a.txt?a=b&sig=secret"]);
    let requests: &[&[&str]] = &[
        &["--head", "/a.txt"],
        &["--compressed", "/large.txt"],
        &["--range", "0-3", "/a.txt"],
        &["--time-cond", "2099-01-01", "/a.txt"],
        &["/missing"],
        &["/moved"],
        &["--data", "a=b", "/post"],
        &["--header", "Expect: 100-continue", "--data", "a=b", "/post"],
        &["--header", "Transfer-Encoding: chunked", "--data", "in chunks", "/post"],
        &["--request", "FROB", "/a.txt"],
    ];
    for request in requests {
        command.args(["--next", "--silent", "--show-error", "--noproxy", "*"]);
        for option in *request {
            match option.starts_with('/') {
                true => command.arg(format!("http://{to}{option}")).args(["--output", "/dev/null"]),
                false => command.arg(option),
            };
        }
    }
    command
}

fn psql(to: &Address) -> Command {
    let mut command = program("psql");
    let host = match to {
        Address::Tcp(_) => "127.0.0.1".to_owned(),
        Address::Unix(path) => path.parent().map(|folder| folder.display().to_string()).unwrap_or_default(),
    };
    let port = if to.port() == 0 { 5432 } else { to.port() };
    command.args(["--no-psqlrc", "--quiet", "--host", &host, "--port", &port.to_string()]);
    command
        .args(["--username", "golden", "--dbname", "golden", "--output", "/dev/null"])
        .env("PGPASSWORD", "golden");
    command.env("PGSSLMODE", "prefer").env("PGGSSENCMODE", "disable");
    for statement in [
        "CREATE TEMP TABLE people (id int, name text, note text)",
        "INSERT INTO people VALUES (1, 'Ann', E'it\\'s'), (2, 'Bob', $$no$$)",
        "SELECT name FROM people WHERE id IN (1, 2, 3) AND note <> 'secret'",
        "BEGIN; UPDATE people SET name = 'Eve' WHERE id = 2; COMMIT",
        "WITH named AS (SELECT * FROM people) SELECT count(*) FROM named JOIN people USING (id)",
        "SELECT * FROM generate_series(1, 50)",
        "COPY people TO STDOUT",
        "EXPLAIN SELECT 1 FROM people",
        "",
        "SELECT 1/0",
    ] {
        command.args(["--command", statement]);
    }
    // The last statement fails on purpose.
    within(&["sh", "-c", "\"$@\" || test $? = 1", "sh"], &command)
}

/// Returns a command that runs another at the end of its own arguments.
pub(super) fn within(outer: &[&str], command: &Command) -> Command {
    let mut arguments = outer.iter();
    let mut wrapped = program(arguments.next().copied().unwrap_or_default());
    wrapped.args(arguments).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        wrapped.env(name, value.unwrap_or_default());
    }
    wrapped
}

fn pgbench(to: &Address, mode: &str) -> Command {
    let mut command = program("pgbench");
    command.args(["--no-vacuum", "--transactions=2", "--protocol", mode, "--file"]);
    command.arg(clients().join("sql/pgbench.sql"));
    command.args(["-h", "127.0.0.1", "-p", &to.port().to_string(), "-U", "golden", "golden"]);
    command.env("PGPASSWORD", "golden").env("PGSSLMODE", "disable").env("PGGSSENCMODE", "disable");
    command
}

fn redis_cli(options: &[&str], command: &[&str]) -> Command {
    let mut cli = program("redis-cli");
    cli.args(options).args(command);
    cli
}

fn with_word(command: Command, to: &Address, word: &str) -> Command {
    let mut command = with_port(command, to);
    command.arg(word);
    command
}

fn redis_py(environment: &Environment, script: &str, to: &Address, protocol: &str) -> Vec<Command> {
    let mut command = with_port(environment.python(script), to);
    command.arg(protocol);
    vec![command]
}
