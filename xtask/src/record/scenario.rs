//! What is recorded: which clients, against which servers.

use std::process::Command;

use super::environment::{Environment, clients, program};
use super::proxy::Address;
use super::server::{Kind, Socket};
use super::speaker::Speaker;

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

const fn unix(
    name: &'static str,
    speaker: Speaker,
    server: Kind,
    client: fn(&Environment, &Address) -> Vec<Command>,
) -> Scenario {
    Scenario { name, speaker, server, socket: Socket::Unix, client }
}

const CURL: Speaker = Speaker::program("curl", "curl");
const PGBENCH: Speaker = Speaker::program("pgbench", "pgbench");
const GO_REDIS: Speaker = Speaker::go("go-redis", "github.com/redis/go-redis/v9");
const MONGO_GO: Speaker = Speaker::go("mongo-driver for Go", "go.mongodb.org/mongo-driver/v2");
const PYMONGO: Speaker = Speaker::python("pymongo", "pymongo");
const PSQL: Speaker = Speaker::program("psql", "psql");
const REDIS_BENCHMARK: Speaker = Speaker::program("redis-benchmark", "redis-benchmark");
const REDIS_CLI: Speaker = Speaker::program("redis-cli", "redis-cli");
const REDIS_PY: Speaker = Speaker::python("redis-py", "redis");

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
    tcp("postgresql/psql", PSQL, Kind::Postgresql, |_, to| vec![psql(to)]),
    unix("postgresql/psql-unix", PSQL, Kind::Postgresql, |_, to| vec![psql(to)]),
    tcp("postgresql/psycopg", Speaker::python("psycopg", "psycopg"), Kind::Postgresql, |environment, to| {
        vec![with_port(environment.python("pg_psycopg.py"), to)]
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
    tcp("redis/streams-2", REDIS_PY, Kind::Redis, |environment, to| {
        redis_py(environment, "redis_streams.py", to, "2")
    }),
    tcp("redis/streams-3", REDIS_PY, Kind::Redis, |environment, to| {
        redis_py(environment, "redis_streams.py", to, "3")
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
