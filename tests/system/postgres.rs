//! psql and PostgreSQL: the simple protocol, over IPv4, IPv6 and a Unix socket.

use expect_test::expect;
use remora_tests::certificates::Certificates;
use remora_tests::remora::Remora;
use remora_tests::servers::Postgres;
use remora_tests::span::{Names, Show, outline};
use remora_tests::tools;

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
