//! Connections that were open before the agent started.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result};
use expect_test::expect;
use remora_tests::certificates::Certificates;
use remora_tests::load::{self, Request};
use remora_tests::remora::Remora;
use remora_tests::servers::{
    FerretDb, Flavour, GoService, GrpcService, Gunicorn, Kafka, Language, Mysql, NodeHttp2, Postgres,
    Rabbitmq, Redis, TlsService, TlsStack, Workers,
};
use remora_tests::span::{Names, Show, Span, outline};
use remora_tests::{clients, tools};

/// A client that keeps its connection, and asks something for each line that it reads.
struct Session {
    child: std::process::Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Session {
    fn open(mut command: Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("the client has no output")?);
        Ok(Self { child, input, output })
    }

    /// Has it ask, and returns the first line of the answer.
    fn ask(&mut self, line: &str) -> Result<String> {
        let input = self.input.as_mut().context("the client has no input")?;
        writeln!(input, "{line}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "needs root"]
fn a_database_session_and_a_kept_http_connection() {
    let (postgres, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
    let shop = Gunicorn::start(Workers::Threads(1), &[("REDIS_URL", redis.url())]).unwrap();
    let psql = tools::psql_command("127.0.0.1", postgres.address().port(), &[]).unwrap();
    let mut session = Session::open(psql).unwrap();
    assert_eq!(session.ask("SELECT 1;").unwrap(), "1");
    let mut kept = TcpStream::connect(shop.address()).unwrap();
    let request =
        |path: &str| Request { path: path.to_owned(), headers: Vec::new(), expected: "hello".to_owned() };
    load::exchange(&mut kept, shop.address(), &request("/cached/before")).unwrap();

    let mut remora = Remora::start().unwrap();
    assert_eq!(session.ask("SELECT note FROM orders WHERE id = 100001;").unwrap(), "note 100001");
    load::exchange(&mut kept, shop.address(), &request("/cached/after")).unwrap();
    let bridge = remora.finish().unwrap();

    let names = Names::of(&[("SHOP", shop.address()), ("POSTGRES", postgres.address())]);
    let shown = ["db.query.text", "db.system.name", "http.response.status_code"];
    let of = |address| outline(&bridge.spans_of_server(address).unwrap(), &names, Show::Only(&shown));
    expect![[r#"
        client `SELECT orders` of psql, unset
            db.query.text = SELECT note FROM orders WHERE id = ?
            db.system.name = postgresql
          server `SELECT orders` of postgres, unset
              db.query.text = SELECT note FROM orders WHERE id = ?
              db.system.name = postgresql
    "#]]
    .assert_eq(&of(postgres.address()));
    expect![[r#"
        client `GET` of this test, unset
            http.response.status_code = 200
          server `GET /cached/after` of shop, unset
              http.response.status_code = 200
            client `SET` of shop, unset
                db.query.text = SET ? ? ? ?
                db.system.name = redis
              server `SET` of redis-server, unset
                  db.query.text = SET ? ? ? ?
                  db.system.name = redis
            client `GET` of shop, unset
                db.query.text = GET ?
                db.system.name = redis
              server `GET` of redis-server, unset
                  db.query.text = GET ?
                  db.system.name = redis
    "#]]
    .assert_eq(&of(shop.address()));
}

/// Returns a server's spans of a client that has asked before the agent came, and twice since.
fn spans_of_kept(kind: &str, server: SocketAddr) -> Vec<Span> {
    let mut client = clients::python("kept.py").unwrap();
    client.args([kind, &server.port().to_string()]);
    let mut session = Session::open(client).unwrap();
    assert_eq!(session.ask("before").unwrap(), "asked");
    let mut remora = Remora::start().unwrap();
    for _ in 0..2 {
        assert_eq!(session.ask("after").unwrap(), "asked");
    }
    remora.finish().unwrap().spans_of_server(server).unwrap()
}

fn told_of_kept(kind: &str, server: SocketAddr) -> String {
    let spans = spans_of_kept(kind, server);
    let shown = [
        "db.query.text",
        "db.system.name",
        "messaging.destination.name",
        "messaging.system",
        "remora.incomplete",
    ];
    outline(&spans, &Names::of(&[]), Show::Only(&shown))
}

#[test]
#[ignore = "needs root"]
fn a_session_of_mysql() {
    let server = Mysql::start(Flavour::Mysql).unwrap();
    expect![[r#"
        client `SELECT orders` of kept, unset
            db.query.text = SELECT id FROM orders WHERE note = ?
            db.system.name = mysql
          server `SELECT orders` of mysqld, unset
              db.query.text = SELECT id FROM orders WHERE note = ?
              db.system.name = mysql
        client `STMT_RESET` of kept, unset
            db.system.name = mysql
          server `STMT_RESET` of mysqld, unset
              db.system.name = mysql
        client `mysql` of kept, unset
            db.system.name = mysql
            remora.incomplete = statement_unknown
          server `mysql` of mysqld, unset
              db.system.name = mysql
              remora.incomplete = statement_unknown
        client `SELECT orders` of kept, unset
            db.query.text = SELECT id FROM orders WHERE note = ?
            db.system.name = mysql
          server `SELECT orders` of mysqld, unset
              db.query.text = SELECT id FROM orders WHERE note = ?
              db.system.name = mysql
    "#]]
    .assert_eq(&told_of_kept("mysql", server.address()));
}

#[test]
#[ignore = "needs root"]
fn a_session_of_mongodb() {
    let server = FerretDb::start().unwrap();
    expect![[r#"
        client `find orders` of kept, unset
            db.query.text = {"find": "orders", "filter": {"_id": "?"}, "limit": "?", "singleBatch": "?"}
            db.system.name = mongodb
          server `find orders` of ferretdb, unset
              db.query.text = {"find": "orders", "filter": {"_id": "?"}, "limit": "?", "singleBatch": "?"}
              db.system.name = mongodb
        client `find orders` of kept, unset
            db.query.text = {"find": "orders", "filter": {"_id": "?"}, "limit": "?", "singleBatch": "?"}
            db.system.name = mongodb
          server `find orders` of ferretdb, unset
              db.query.text = {"find": "orders", "filter": {"_id": "?"}, "limit": "?", "singleBatch": "?"}
              db.system.name = mongodb
    "#]]
    .assert_eq(&told_of_kept("mongodb", server.address()));
}

#[test]
#[ignore = "needs root"]
fn a_session_of_redis() {
    let server = Redis::start().unwrap();
    expect![[r#"
        client `GET` of kept, unset
            db.query.text = GET ?
            db.system.name = redis
          server `GET` of redis-server, unset
              db.query.text = GET ?
              db.system.name = redis
        client `GET` of kept, unset
            db.query.text = GET ?
            db.system.name = redis
          server `GET` of redis-server, unset
              db.query.text = GET ?
              db.system.name = redis
    "#]]
    .assert_eq(&told_of_kept("redis", server.address()));
}

/// A statement that was prepared before is known by its name where another connection shows what that stands for.
#[test]
#[ignore = "needs root"]
fn a_statement_that_another_connection_explains() {
    let postgres = Postgres::start().unwrap();
    let flags = ["-database".to_owned(), postgres.url()];
    let [first, second] = [(); 2].map(|()| GoService::start(&flags).unwrap());
    let ask = |service: &GoService| tools::curl(&[&format!("{}/items/7", service.url())]).unwrap();
    ask(&first);
    let mut remora = Remora::start().unwrap();
    ask(&first);
    ask(&second);
    ask(&first);
    let bridge = remora.finish().unwrap();
    let mut spans = bridge.spans_of_server(first.address()).unwrap();
    // The pool says something to connections that rested.
    spans.retain(|span| span.kind == "client" && span.name.starts_with("SELECT"));
    spans.sort_by_key(|span| span.start_ns);
    let shown = ["db.query.text", "remora.incomplete"];
    expect![[r#"
        client `SELECT` of items, unset (parent elsewhere)
            remora.incomplete = statement_unknown
        client `SELECT items` of items, unset (parent elsewhere)
            db.query.text = SELECT name AS id_7 FROM items WHERE id = $1
    "#]]
    .assert_eq(&outline(&spans, &Names::of(&[]), Show::Only(&shown)));
}

/// Fetches name topics by ids, which only metadata explains.
#[test]
#[ignore = "needs root"]
fn sessions_of_kafka() {
    let server = Kafka::start().unwrap();
    let spans = spans_of_kept("kafka", server.address());
    let of =
        |name: &str, kind: &str| spans.iter().filter(|span| span.name == name && span.kind == kind).count();
    assert_eq!((of("send orders", "producer"), of("send orders", "server")), (2, 2), "{spans:#?}");
    // One is under way when the agent comes, and its answer may be the first that is met. Where the client has asked for
    // metadata meanwhile, the topic has its name again, and who sent is known.
    let polls: Vec<_> = spans.iter().filter(|span| span.name.starts_with("poll")).collect();
    assert!((1..=4).contains(&polls.len()), "{spans:#?}");
    for poll in polls {
        let is_named = poll.text("messaging.destination.name") == Some("orders");
        let has_id = poll.text("remora.kafka.topic.id").is_some();
        assert!(is_named != has_id && (is_named || poll.links.is_empty()), "{poll:#?}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_session_of_amqp() {
    let server = Rabbitmq::start().unwrap();
    expect![[r#"
        producer `send orders` of kept, unset
            messaging.destination.name = orders
            messaging.system = rabbitmq
          server `send orders` of rabbitmq, unset
              messaging.destination.name = orders
              messaging.system = rabbitmq
        producer `send orders` of kept, unset
            messaging.destination.name = orders
            messaging.system = rabbitmq
          server `send orders` of rabbitmq, unset
              messaging.destination.name = orders
              messaging.system = rabbitmq
        client `receive orders` of kept, unset
            messaging.destination.name = orders
            messaging.system = rabbitmq
          server `receive orders` of rabbitmq, unset
              messaging.destination.name = orders
              messaging.system = rabbitmq
    "#]]
    .assert_eq(&told_of_kept("amqp", server.address()));
}

/// Requests before the agent comes, and under it.
const BEFORE: usize = 40;
const UNDER: usize = 60;

/// Each request that both sides tell by its path has the right caller, and nearly all do: what was asked before shifts none
/// of them, though all are as long.
#[test]
#[ignore = "needs root"]
fn http2_connections_inside_tls_are_joined() {
    let certificates = Certificates::make().unwrap();
    for stack in [
        TlsStack::NginxHttp2,
        TlsStack::NodeHttp2,
        TlsStack::Hypercorn,
        TlsStack::GoBuild("users"),
        TlsStack::Rustls,
    ] {
        let server = TlsService::start(stack, &certificates).unwrap();
        let mut client = clients::python("asked.py").unwrap();
        client.arg(format!("https://localhost:{}", server.address().port()));
        client.env("SSL_CERT_FILE", certificates.authority());
        let mut session = Session::open(client).unwrap();
        let mut ask = |user: usize| session.ask(&format!("/users/{user}")).unwrap();
        (1000..1000 + BEFORE).for_each(|user| assert_eq!(ask(user), "200"));
        let mut remora = Remora::start().unwrap();
        (2000..2000 + UNDER).for_each(|user| assert_eq!(ask(user), "200"));
        let spans = remora.finish().unwrap().spans_of_server(server.address()).unwrap();

        let of_kind = |kind: &'static str| spans.iter().filter(move |span| span.kind == kind);
        let asked: HashMap<_, _> =
            of_kind("client").map(|span| (span.span_id.as_str(), user(span))).collect();
        let mut joined = 0;
        for served in of_kind("server") {
            let caller = served.parent_id.as_deref().and_then(|id| asked.get(id));
            if let (Some(served), Some(Some(asked))) = (user(served), caller) {
                assert_eq!(served, *asked, "{stack:?}: a request has another's caller");
                joined += 1;
            }
        }
        println!("{stack:?}: {} asked, {} served, {joined} joined", asked.len(), of_kind("server").count());
        assert!(joined * 10 >= UNDER * 9, "{stack:?}: {joined} of {UNDER} are joined");
    }
}

/// Returns which user a request asks for.
fn user(span: &Span) -> Option<String> {
    let path = span.text("url.path").or_else(|| span.text("url.full"))?;
    path.rsplit_once("/users/").map(|(_, user)| user.to_owned())
}

/// What both sides have put into their tables of fields before is not known, and not guessed.
#[test]
#[ignore = "needs root"]
fn an_http2_connection_tells_what_is_said_anew() {
    let node = NodeHttp2::start().unwrap();
    let mut client = clients::python("asked.py").unwrap();
    client.arg(format!("http://{}", node.address()));
    let mut session = Session::open(client).unwrap();
    assert_eq!(session.ask("/users/1").unwrap(), "200");

    let mut remora = Remora::start().unwrap();
    for path in ["/users/1", "/users/2", "/users/3"] {
        assert_eq!(session.ask(path).unwrap(), "200");
    }
    let spans = remora.finish().unwrap().spans_of_server(node.address()).unwrap();
    let shown =
        ["http.request.method", "http.response.status_code", "remora.incomplete", "url.full", "url.path"];
    let names = Names::of(&[("NODE", node.address())]);
    expect![[r#"
        client `GET` of asked, unset
            http.request.method = GET
            http.response.status_code = 200
            remora.incomplete = fields_unknown
          server `GET` of remora-test-app, unset
              http.request.method = GET
              http.response.status_code = 200
              remora.incomplete = fields_unknown
        client `GET` of asked, unset
            http.request.method = GET
            http.response.status_code = 200
            remora.incomplete = fields_unknown
            url.full = http://NODE/users/2
          server `GET /users/{id}` of remora-test-app, unset
              http.request.method = GET
              http.response.status_code = 200
              remora.incomplete = fields_unknown
              url.path = /users/2
        client `GET` of asked, unset
            http.request.method = GET
            http.response.status_code = 200
            remora.incomplete = fields_unknown
            url.full = http://NODE/users/3
          server `GET /users/{id}` of remora-test-app, unset
              http.request.method = GET
              http.response.status_code = 200
              remora.incomplete = fields_unknown
              url.path = /users/3
    "#]]
    .assert_eq(&outline(&spans, &names, Show::Only(&shown)));
}

#[test]
#[ignore = "needs root"]
fn a_connection_of_grpc_tells_what_is_said_anew() {
    let service = GrpcService::start(Language::Python).unwrap();
    let mut session = Session::open(service.asked()).unwrap();
    assert_eq!(session.ask("Get").unwrap(), "item 1");

    let mut remora = Remora::start().unwrap();
    for (method, answer) in [("Get", "item 1"), ("List", "item 0"), ("Get", "item 1"), ("List", "item 0")] {
        assert_eq!(session.ask(method).unwrap(), answer);
    }
    let spans = remora.finish().unwrap().spans_of_server(service.address()).unwrap();
    let shown = [
        "http.request.method",
        "remora.incomplete",
        "rpc.method",
        "rpc.response.status_code",
        "rpc.system.name",
    ];
    expect![[r#"
        client `grpc` of items_asked, unset
            remora.incomplete = fields_unknown
            rpc.system.name = grpc
          server `grpc` of items_grpc, unset
              remora.incomplete = fields_unknown
              rpc.system.name = grpc
        client `shop.Items/List` of items_asked, unset
            remora.incomplete = fields_unknown
            rpc.method = shop.Items/List
            rpc.system.name = grpc
          server `shop.Items/List` of items_grpc, unset
              remora.incomplete = fields_unknown
              rpc.method = shop.Items/List
              rpc.system.name = grpc
        client `grpc` of items_asked, unset
            remora.incomplete = fields_unknown
            rpc.system.name = grpc
          server `grpc` of items_grpc, unset
              remora.incomplete = fields_unknown
              rpc.system.name = grpc
        client `shop.Items/List` of items_asked, unset
            remora.incomplete = fields_unknown
            rpc.method = shop.Items/List
            rpc.system.name = grpc
          server `shop.Items/List` of items_grpc, unset
              remora.incomplete = fields_unknown
              rpc.method = shop.Items/List
              rpc.system.name = grpc
    "#]]
    .assert_eq(&outline(&spans, &Names::of(&[]), Show::Only(&shown)));
}
