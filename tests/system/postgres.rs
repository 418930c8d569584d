//! psql and PostgreSQL: the simple protocol, over IPv4, IPv6 and a Unix socket.

use expect_test::expect;
use remora_tests::certificates::Certificates;
use remora_tests::remora::Remora;
use remora_tests::servers::Postgres;
use remora_tests::span::{Names, Show, outline};
use remora_tests::{clients, tools};

use crate::whole;

#[test]
#[ignore = "needs root"]
fn one_statement_over_ipv4() {
    let postgres = Postgres::start().unwrap();
    let mut remora = Remora::start().unwrap();
    tools::psql(postgres.address(), &["SELECT note FROM orders WHERE id = 100001 AND note <> 'secret'"])
        .unwrap();
    let spans = remora.finish().unwrap().spans_of_server(postgres.address()).unwrap();
    expect![[r#"
        client `SELECT orders` of psql, unset
            db.collection.name = orders
            db.namespace = postgres
            db.operation.name = SELECT
            db.query.summary = SELECT orders
            db.query.text = SELECT note FROM orders WHERE id = ? AND note <> ?
            db.response.returned_rows = 1
            db.system.name = postgresql
            network.peer.address = 127.0.0.1
            network.peer.port = POSTGRES.port
            remora.db.user = postgres
            server.address = 127.0.0.1
            server.port = POSTGRES.port
          server `SELECT orders` of postgres, unset
              client.address = 127.0.0.1
              client.port = *
              db.collection.name = orders
              db.namespace = postgres
              db.operation.name = SELECT
              db.query.summary = SELECT orders
              db.query.text = SELECT note FROM orders WHERE id = ? AND note <> ?
              db.response.returned_rows = 1
              db.system.name = postgresql
              network.peer.address = 127.0.0.1
              network.peer.port = *
              remora.db.user = postgres
              remora.parent.evidence = position
              server.address = 127.0.0.1
              server.port = POSTGRES.port
    "#]]
    .assert_eq(&whole(&spans, &Names::of(&[("POSTGRES", postgres.address())])));
}

#[test]
#[ignore = "needs root"]
fn statements_of_all_kinds() {
    let postgres = Postgres::start().unwrap();
    let mut remora = Remora::start().unwrap();
    // psql goes on after an error and then fails.
    let _ = tools::psql(
        postgres.address(),
        &[
            "CREATE TABLE things (id int PRIMARY KEY, name text)",
            "INSERT INTO things VALUES (1, 'one'), (2, 'two')",
            "UPDATE things SET name = 'zwei' WHERE id = 2",
            "INSERT INTO things VALUES (1, 'again')",
            "SELECT o.note FROM orders o JOIN items i ON i.id = o.id WHERE o.id = 100002",
            "COPY things TO STDOUT",
            "BEGIN",
            "DELETE FROM things",
            "ROLLBACK",
            "SELECT 1/0",
            "SELEC nothing",
        ],
    );
    let spans = remora.finish().unwrap().spans_of_server(postgres.address()).unwrap();
    let spans: Vec<_> = spans.into_iter().filter(|span| span.kind == "client").collect();
    let shown = ["db.query.text", "db.response.status_code", "error.type", "db.response.returned_rows"];
    let names = Names::of(&[("POSTGRES", postgres.address())]);
    expect![[r#"
        client `CREATE TABLE things` of psql, unset
            db.query.text = CREATE TABLE things (id int PRIMARY KEY, name text)
        client `INSERT things` of psql, unset
            db.query.text = INSERT INTO things VALUES (?, ?)
        client `UPDATE things` of psql, unset
            db.query.text = UPDATE things SET name = ? WHERE id = ?
        client `INSERT things` of psql, error
            db.query.text = INSERT INTO things VALUES (?, ?)
            db.response.status_code = 23505
            error.type = 23505
        client `SELECT orders items` of psql, unset
            db.query.text = SELECT o.note FROM orders o JOIN items i ON i.id = o.id WHERE o.id = ?
            db.response.returned_rows = 1
        client `COPY things` of psql, unset
            db.query.text = COPY things TO STDOUT
        client `BEGIN` of psql, unset
            db.query.text = BEGIN
        client `DELETE things` of psql, unset
            db.query.text = DELETE FROM things
        client `ROLLBACK` of psql, unset
            db.query.text = ROLLBACK
        client `SELECT` of psql, error
            db.query.text = SELECT ?/?
            db.response.status_code = 22012
            error.type = 22012
        client `postgresql` of psql, error
            db.query.text = SELEC nothing
            db.response.status_code = 42601
            error.type = 42601
    "#]]
    .assert_eq(&outline(&spans, &names, Show::Only(&shown)));
}

#[test]
#[ignore = "needs root"]
fn one_statement_over_ipv6() {
    let postgres = Postgres::start().unwrap();
    let mut remora = Remora::start().unwrap();
    let address = (std::net::Ipv6Addr::LOCALHOST, postgres.address().port()).into();
    tools::psql(address, &["SELECT name FROM items WHERE id = 100001"]).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(postgres.address()).unwrap();
    expect![[r#"
        client `SELECT items` of psql, unset
            db.collection.name = items
            db.namespace = postgres
            db.operation.name = SELECT
            db.query.summary = SELECT items
            db.query.text = SELECT name FROM items WHERE id = ?
            db.response.returned_rows = 1
            db.system.name = postgresql
            network.peer.address = ::1
            network.peer.port = POSTGRES.port
            remora.db.user = postgres
            server.address = ::1
            server.port = POSTGRES.port
          server `SELECT items` of postgres, unset
              client.address = ::1
              client.port = *
              db.collection.name = items
              db.namespace = postgres
              db.operation.name = SELECT
              db.query.summary = SELECT items
              db.query.text = SELECT name FROM items WHERE id = ?
              db.response.returned_rows = 1
              db.system.name = postgresql
              network.peer.address = ::1
              network.peer.port = *
              remora.db.user = postgres
              remora.parent.evidence = position
              server.address = ::1
              server.port = POSTGRES.port
    "#]]
    .assert_eq(&whole(&spans, &Names::of(&[("POSTGRES", address)])));
}

#[test]
#[ignore = "needs root"]
fn one_statement_over_a_unix_socket() {
    let postgres = Postgres::start().unwrap();
    let folder = postgres.socket_folder();
    let mut remora = Remora::start().unwrap();
    tools::psql_unix(folder, postgres.address().port(), &["SELECT name FROM items WHERE id = 100001"])
        .unwrap();
    let socket = folder.join(format!(".s.PGSQL.{}", postgres.address().port()));
    let socket = socket.to_str().unwrap();
    let spans = remora.finish().unwrap().spans_with("server.address", &socket.into()).unwrap();
    expect![[r#"
        client `SELECT items` of psql, unset
            db.collection.name = items
            db.namespace = postgres
            db.operation.name = SELECT
            db.query.summary = SELECT items
            db.query.text = SELECT name FROM items WHERE id = ?
            db.response.returned_rows = 1
            db.system.name = postgresql
            network.peer.address = SOCKET
            network.transport = unix
            remora.db.user = postgres
            server.address = SOCKET
          server `SELECT items` of postgres, unset
              db.collection.name = items
              db.namespace = postgres
              db.operation.name = SELECT
              db.query.summary = SELECT items
              db.query.text = SELECT name FROM items WHERE id = ?
              db.response.returned_rows = 1
              db.system.name = postgresql
              network.transport = unix
              remora.db.user = postgres
              remora.parent.evidence = position
              server.address = SOCKET
    "#]]
    .assert_eq(&whole(&spans, &Names::default().and(socket, "SOCKET")));
}

/// Who may not come in is told of, over TLS too.
#[test]
#[ignore = "needs root"]
fn refused_sign_ins() {
    let certificates = Certificates::make().unwrap();
    let mut postgres = Postgres::start().unwrap();
    postgres.encrypt(&certificates).unwrap();
    let address = postgres.address();
    tools::psql(address, &["CREATE ROLE crowd LOGIN CONNECTION LIMIT 0"]).unwrap();
    let mut remora = Remora::start().unwrap();
    for (mode, option, value) in [
        ("disable", "--dbname", "missing"),
        ("disable", "--username", "crowd"),
        ("require", "--username", "nobody"),
    ] {
        let mut psql = tools::psql_command("127.0.0.1", address.port(), &["SELECT 1"]).unwrap();
        let output = psql.args([option, value]).env("PGSSLMODE", mode).output().unwrap();
        assert!(!output.status.success(), "{value} was let in");
    }
    tools::psql(address, &["SELECT 1"]).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(address).unwrap();
    let shown =
        ["db.namespace", "remora.db.user", "db.response.status_code", "error.type", "tls.protocol.version"];
    expect![[r#"
        client `connect` of psql, error
            db.namespace = missing
            db.response.status_code = 3D000
            error.type = 3D000
            remora.db.user = postgres
          server `connect` of postgres, error
              db.namespace = missing
              db.response.status_code = 3D000
              error.type = 3D000
              remora.db.user = postgres
        client `connect` of psql, error
            db.namespace = postgres
            db.response.status_code = 53300
            error.type = 53300
            remora.db.user = crowd
          server `connect` of postgres, error
              db.namespace = postgres
              db.response.status_code = 53300
              error.type = 53300
              remora.db.user = crowd
        client `connect` of psql, error
            db.namespace = postgres
            db.response.status_code = 28000
            error.type = 28000
            remora.db.user = nobody
            tls.protocol.version = 1.3
          server `connect` of postgres, error
              db.namespace = postgres
              db.response.status_code = 28000
              error.type = 28000
              remora.db.user = nobody
              tls.protocol.version = 1.3
        client `SELECT` of psql, unset
            db.namespace = postgres
            remora.db.user = postgres
          server `SELECT` of postgres, unset
              db.namespace = postgres
              remora.db.user = postgres
    "#]]
    .assert_eq(&outline(&spans, &Names::of(&[("POSTGRES", address)]), Show::Only(&shown)));
}

/// Returns what is told of all that a program of the recordings does.
fn told_of(script: &str) -> String {
    let postgres = Postgres::start().unwrap();
    let prepared = ["CREATE ROLE golden SUPERUSER LOGIN PASSWORD 'golden'", "CREATE DATABASE golden"];
    tools::psql(postgres.address(), &prepared).unwrap();
    let mut remora = Remora::start().unwrap();
    let mut client = clients::recorded_python(script).unwrap();
    tools::printed(client.arg(postgres.address().port().to_string())).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(postgres.address()).unwrap();
    let mut spans: Vec<_> = spans.into_iter().filter(|span| span.kind == "client").collect();
    // What was sent and answered by one call each begins and ends at the same time.
    spans.sort_by_key(|span| span.text("error.type").map(str::to_owned));
    let shown = ["db.operation.batch.size", "db.query.text", "db.response.returned_rows", "error.type"];
    outline(&spans, &Names::of(&[("POSTGRES", postgres.address())]), Show::Only(&shown))
}

#[test]
#[ignore = "needs root"]
fn psycopg_with_pipelines_copies_cursors_and_notifications() {
    expect![[r#"
        client `DROP TABLE items` of pg_psycopg, unset
            db.query.text = DROP TABLE IF EXISTS items
        client `CREATE TABLE items` of pg_psycopg, unset
            db.query.text = CREATE TABLE items (id serial PRIMARY KEY, name text UNIQUE, price numeric)
        client `BATCH SELECT` of pg_psycopg, unset
            db.operation.batch.size = 2
            db.query.text = SELECT ?, ?; SELECT ?
            db.response.returned_rows = 2
        client `SELECT` of pg_psycopg, unset
            db.query.text = SELECT ? WHERE ? IN (?)
            db.response.returned_rows = 1
        client `INSERT items` of pg_psycopg, unset
            db.query.text = INSERT INTO items (name, price) VALUES ($1, $2)
        client `INSERT items` of pg_psycopg, unset
            db.query.text = INSERT INTO items (name, price) VALUES ($1, $2)
        client `INSERT items` of pg_psycopg, unset
            db.query.text = INSERT INTO items (name, price) VALUES ($1, $2)
        client `PREPARE SELECT items` of pg_psycopg, unset
            db.query.text = SELECT name FROM items WHERE id = $1
        client `SELECT items` of pg_psycopg, unset
            db.query.text = SELECT name FROM items WHERE id = $1
            db.response.returned_rows = 0
        client `SELECT items` of pg_psycopg, unset
            db.query.text = SELECT name FROM items WHERE id = $1
            db.response.returned_rows = 1
        client `SELECT items` of pg_psycopg, unset
            db.query.text = SELECT name FROM items WHERE id = $1
            db.response.returned_rows = 1
        client `SELECT items` of pg_psycopg, unset
            db.query.text = SELECT id, price FROM items WHERE price > $1 ORDER BY id
            db.response.returned_rows = 2
        client `UPDATE items` of pg_psycopg, unset
            db.query.text = UPDATE items SET price = $1 WHERE name = $2
        client `UPDATE items` of pg_psycopg, unset
            db.query.text = UPDATE items SET price = $1 WHERE name = $2
        client `postgresql` of pg_psycopg, error
            db.query.text = SELEC ?
            error.type = 42601
        client `SELECT missing` of pg_psycopg, error
            db.query.text = SELECT * FROM missing
            error.type = 42P01
        client `INSERT items` of pg_psycopg, error
            db.query.text = INSERT INTO items (name) VALUES (?)
            error.type = 23505
        client `SELECT` of pg_psycopg, error
            db.query.text = SELECT ? / $1
            error.type = 22012
        client `INSERT items` of pg_psycopg, unset
            db.query.text = INSERT INTO items (name) VALUES ($1)
        client `INSERT items` of pg_psycopg, unset
            db.query.text = INSERT INTO items (name) VALUES ($1)
        client `SELECT items` of pg_psycopg, unset
            db.query.text = SELECT count(*) FROM items
            db.response.returned_rows = 1
        client `SELECT` of pg_psycopg, unset
            db.query.text = SELECT ?
            db.response.returned_rows = 1
        client `SELECT missing` of pg_psycopg, error
            db.query.text = SELECT * FROM missing
            error.type = 42P01
        client `SELECT` of pg_psycopg, error
            db.query.text = SELECT ?
            error.type = pipeline_aborted
        client `COPY items` of pg_psycopg, unset
            db.query.text = COPY items (name, price) FROM STDIN
        client `COPY items` of pg_psycopg, unset
            db.query.text = COPY items (name) TO STDOUT
        client `COPY items` of pg_psycopg, error
            db.query.text = COPY items (name) FROM STDIN
            error.type = 57014
        client `LISTEN` of pg_psycopg, unset
            db.query.text = LISTEN news
        client `NOTIFY` of pg_psycopg, unset
            db.query.text = NOTIFY news, ?
        client `DO` of pg_psycopg, unset
            db.query.text = DO ?
        client `BEGIN` of pg_psycopg, unset
            db.query.text = BEGIN
        client `DECLARE SELECT items` of pg_psycopg, unset
            db.query.text = DECLARE "scroll" CURSOR FOR SELECT id FROM items ORDER BY id
        client `FETCH` of pg_psycopg, unset
            db.query.text = FETCH FORWARD ? FROM "scroll"
            db.response.returned_rows = 2
        client `CLOSE` of pg_psycopg, unset
            db.query.text = CLOSE "scroll"
        client `COMMIT` of pg_psycopg, unset
            db.query.text = COMMIT
        client `CREATE PROCEDURE restock` of pg_psycopg, unset
            db.query.text = CREATE OR REPLACE PROCEDURE restock(amount int) LANGUAGE sql AS ?
        client `CALL restock` of pg_psycopg, unset
            db.query.text = CALL restock(?)
    "#]]
    .assert_eq(&told_of("pg_psycopg.py"));
}

#[test]
#[ignore = "needs root"]
fn asyncpg_with_statements_cursors_copies_and_notifications() {
    expect![[r#"
        client `CREATE TABLE fish` of pg_asyncpg, unset
            db.query.text = CREATE TEMP TABLE fish (id int PRIMARY KEY, name text)
        client `PREPARE INSERT fish` of pg_asyncpg, unset
            db.query.text = INSERT INTO fish VALUES ($1, $2)
        client `INSERT fish` of pg_asyncpg, unset
            db.query.text = INSERT INTO fish VALUES ($1, $2)
        client `INSERT fish` of pg_asyncpg, unset
            db.query.text = INSERT INTO fish VALUES ($1, $2)
        client `INSERT fish` of pg_asyncpg, unset
            db.query.text = INSERT INTO fish VALUES ($1, $2)
        client `PREPARE SELECT fish` of pg_asyncpg, unset
            db.query.text = SELECT name FROM fish WHERE id = $1
        client `SELECT fish` of pg_asyncpg, unset
            db.query.text = SELECT name FROM fish WHERE id = $1
            db.response.returned_rows = 1
        client `SELECT fish` of pg_asyncpg, unset
            db.query.text = SELECT name FROM fish WHERE id = $1
            db.response.returned_rows = 1
        client `SELECT fish` of pg_asyncpg, unset
            db.query.text = SELECT name FROM fish WHERE id = $1
            db.response.returned_rows = 1
        client `BEGIN` of pg_asyncpg, unset
            db.query.text = BEGIN
        client `PREPARE SELECT fish` of pg_asyncpg, unset
            db.query.text = SELECT id FROM fish ORDER BY id
        client `SELECT fish` of pg_asyncpg, unset
            db.query.text = SELECT id FROM fish ORDER BY id
            db.response.returned_rows = 2
        client `SELECT fish` of pg_asyncpg, unset
            db.query.text = SELECT id FROM fish ORDER BY id
            db.response.returned_rows = 1
        client `COMMIT` of pg_asyncpg, unset
            db.query.text = COMMIT
        client `PREPARE SELECT missing` of pg_asyncpg, error
            db.query.text = SELECT * FROM missing
            error.type = 42P01
        client `PREPARE SELECT` of pg_asyncpg, unset
            db.query.text = SELECT ? / $1::int
        client `SELECT` of pg_asyncpg, error
            db.query.text = SELECT ? / $1::int
            error.type = 22012
        client `INSERT fish` of pg_asyncpg, unset
            db.query.text = INSERT INTO fish VALUES ($1, $2)
        client `INSERT fish` of pg_asyncpg, error
            db.query.text = INSERT INTO fish VALUES ($1, $2)
            error.type = 23505
        client `INSERT fish` of pg_asyncpg, error
            db.query.text = INSERT INTO fish VALUES ($1, $2)
            error.type = pipeline_aborted
        client `PREPARE SELECT "fish"` of pg_asyncpg, unset
            db.query.text = SELECT * FROM "fish" LIMIT ?
        client `COPY "fish"` of pg_asyncpg, unset
            db.query.text = COPY "fish" FROM STDIN (FORMAT binary)
        client `PREPARE LISTEN` of pg_asyncpg, unset
            db.query.text = LISTEN "news"
        client `LISTEN` of pg_asyncpg, unset
            db.query.text = LISTEN "news"
        client `NOTIFY` of pg_asyncpg, unset
            db.query.text = NOTIFY news, ?
        client `PREPARE SELECT` of pg_asyncpg, unset
            db.query.text = SELECT $1::int
        client `SELECT` of pg_asyncpg, unset
            db.query.text = SELECT $1::int
            db.response.returned_rows = 1
        client `SELECT` of pg_asyncpg, error
            db.query.text = SELECT pg_sleep(?)
            error.type = 57014
        client `PREPARE SELECT` of pg_asyncpg, unset
            db.query.text = SELECT ?
        client `SELECT` of pg_asyncpg, unset
            db.query.text = SELECT ?
            db.response.returned_rows = 1
    "#]]
    .assert_eq(&told_of("pg_asyncpg.py"));
}
