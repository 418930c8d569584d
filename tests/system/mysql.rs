//! MySQL 8 and MariaDB, with MariaDB's own client, PyMySQL and MySQL's connector in C.

use expect_test::expect;
use remora_tests::locate;
use remora_tests::remora::Remora;
use remora_tests::servers::{Flavour, Mysql};
use remora_tests::span::{Names, Show, outline};
use remora_tests::tools;

use crate::whole;

#[test]
#[ignore = "needs root"]
fn one_statement_of_mariadb() {
    let mariadb = Mysql::start(Flavour::Mariadb).unwrap();
    let mut remora = Remora::start().unwrap();
    tools::mariadb(mariadb.address(), "SELECT note FROM `orders` WHERE id = 100001 AND note <> \"secret\"")
        .unwrap();
    let spans = remora.finish().unwrap().spans_of_server(mariadb.address()).unwrap();
    let spans: Vec<_> = spans.into_iter().filter(|span| span.name.contains("orders")).collect();
    expect![[r#"
        client `SELECT orders` of mariadb, unset
            db.collection.name = orders
            db.namespace = shop
            db.operation.name = SELECT
            db.query.summary = SELECT orders
            db.query.text = SELECT note FROM `orders` WHERE id = ? AND note <> ?
            db.response.returned_rows = 1
            db.system.name = mariadb
            network.peer.address = 127.0.0.1
            network.peer.port = MARIADB.port
            remora.db.user = native
            server.address = 127.0.0.1
            server.port = MARIADB.port
          server `SELECT orders` of mariadbd, unset
              client.address = 127.0.0.1
              client.port = *
              db.collection.name = orders
              db.namespace = shop
              db.operation.name = SELECT
              db.query.summary = SELECT orders
              db.query.text = SELECT note FROM `orders` WHERE id = ? AND note <> ?
              db.response.returned_rows = 1
              db.system.name = mariadb
              network.peer.address = 127.0.0.1
              network.peer.port = *
              remora.db.user = native
              remora.parent.evidence = position
              server.address = 127.0.0.1
              server.port = MARIADB.port
    "#]]
    .assert_eq(&whole(&spans, &Names::of(&[("MARIADB", mariadb.address())])));
}

#[test]
#[ignore = "needs root"]
fn statements_of_all_kinds() {
    let mysql = Mysql::start(Flavour::Mysql).unwrap();
    let mut remora = Remora::start().unwrap();
    tools::sql_program("pymysql_orders.py", &[&mysql.address().port().to_string()]).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(mysql.address()).unwrap();
    expect![[r#"
        client `SET` of pymysql_orders, unset
            db.query.text = SET NAMES utf8mb4
          server `SET` of mysqld, unset
              db.query.text = SET NAMES utf8mb4
        client `SELECT orders` of pymysql_orders, unset
            db.query.text = SELECT note FROM orders WHERE id = ? AND note <> ?
            db.response.returned_rows = 1
          server `SELECT orders` of mysqld, unset
              db.query.text = SELECT note FROM orders WHERE id = ? AND note <> ?
              db.response.returned_rows = 1
        client `BATCH` of pymysql_orders, unset
            db.query.text = UPDATE orders SET note = ? WHERE id = ?; SELECT REPEAT(?, ?)
            db.response.returned_rows = 1
          server `BATCH` of mysqld, unset
              db.query.text = UPDATE orders SET note = ? WHERE id = ?; SELECT REPEAT(?, ?)
              db.response.returned_rows = 1
        client `INSERT orders` of pymysql_orders, error
            db.query.text = INSERT INTO orders VALUES (?, ?)
            db.response.status_code = 1062
            error.type = 1062
          server `INSERT orders` of mysqld, error
              db.query.text = INSERT INTO orders VALUES (?, ?)
              db.response.status_code = 1062
              error.type = 1062
    "#]]
    .assert_eq(&told(&mysql, &spans));
}

#[test]
#[ignore = "needs root"]
fn prepared_statements() {
    let mysql = Mysql::start(Flavour::Mysql).unwrap();
    let mut remora = Remora::start().unwrap();
    tools::sql_program("connector_orders.py", &[&mysql.address().port().to_string(), "plain"]).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(mysql.address()).unwrap();
    expect![[r#"
        client `SET` of connector_orders, unset
            db.query.text = SET NAMES ? COLLATE ?
          server `SET` of mysqld, unset
              db.query.text = SET NAMES ? COLLATE ?
        client `set` of connector_orders, unset
            db.query.text = set autocommit=?
          server `set` of mysqld, unset
              db.query.text = set autocommit=?
        client `PING` of connector_orders, unset
          server `PING` of mysqld, unset
        client `PREPARE SELECT orders` of connector_orders, unset
            db.query.text = SELECT note FROM orders WHERE id = ?
          server `PREPARE SELECT orders` of mysqld, unset
              db.query.text = SELECT note FROM orders WHERE id = ?
        client `STMT_RESET` of connector_orders, unset
          server `STMT_RESET` of mysqld, unset
        client `SELECT orders` of connector_orders, unset
            db.query.text = SELECT note FROM orders WHERE id = ?
            db.response.returned_rows = 1
          server `SELECT orders` of mysqld, unset
              db.query.text = SELECT note FROM orders WHERE id = ?
              db.response.returned_rows = 1
        client `STMT_RESET` of connector_orders, unset
          server `STMT_RESET` of mysqld, unset
        client `SELECT orders` of connector_orders, unset
            db.query.text = SELECT note FROM orders WHERE id = ?
            db.response.returned_rows = 1
          server `SELECT orders` of mysqld, unset
              db.query.text = SELECT note FROM orders WHERE id = ?
              db.response.returned_rows = 1
        client `STMT_RESET` of connector_orders, unset
          server `STMT_RESET` of mysqld, unset
        client `PING` of connector_orders, unset
          server `PING` of mysqld, unset
        client `SELECT orders orders` of connector_orders, unset
            db.query.text = SELECT a.note FROM orders a, orders b WHERE a.id < ? AND b.id < ?
            db.response.returned_rows = 3000
          server `SELECT orders orders` of mysqld, unset
              db.query.text = SELECT a.note FROM orders a, orders b WHERE a.id < ? AND b.id < ?
              db.response.returned_rows = 3000
    "#]]
    .assert_eq(&told(&mysql, &spans));
}

#[test]
#[ignore = "needs root"]
fn a_compressed_connection() {
    let mysql = Mysql::start(Flavour::Mysql).unwrap();
    let mut remora = Remora::start().unwrap();
    tools::sql_program("connector_orders.py", &[&mysql.address().port().to_string(), "compressed"]).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(mysql.address()).unwrap();
    expect![[r#"
        client `SET` of connector_orders, unset
            db.query.text = SET NAMES ? COLLATE ?
          server `SET` of mysqld, unset
              db.query.text = SET NAMES ? COLLATE ?
        client `set` of connector_orders, unset
            db.query.text = set autocommit=?
          server `set` of mysqld, unset
              db.query.text = set autocommit=?
        client `PING` of connector_orders, unset
          server `PING` of mysqld, unset
        client `PREPARE SELECT orders` of connector_orders, unset
            db.query.text = SELECT note FROM orders WHERE id = ?
          server `PREPARE SELECT orders` of mysqld, unset
              db.query.text = SELECT note FROM orders WHERE id = ?
        client `STMT_RESET` of connector_orders, unset
          server `STMT_RESET` of mysqld, unset
        client `SELECT orders` of connector_orders, unset
            db.query.text = SELECT note FROM orders WHERE id = ?
            db.response.returned_rows = 1
          server `SELECT orders` of mysqld, unset
              db.query.text = SELECT note FROM orders WHERE id = ?
              db.response.returned_rows = 1
        client `STMT_RESET` of connector_orders, unset
          server `STMT_RESET` of mysqld, unset
        client `SELECT orders` of connector_orders, unset
            db.query.text = SELECT note FROM orders WHERE id = ?
            db.response.returned_rows = 1
          server `SELECT orders` of mysqld, unset
              db.query.text = SELECT note FROM orders WHERE id = ?
              db.response.returned_rows = 1
        client `STMT_RESET` of connector_orders, unset
          server `STMT_RESET` of mysqld, unset
        client `PING` of connector_orders, unset
          server `PING` of mysqld, unset
        client `SELECT orders orders` of connector_orders, unset
            db.query.text = SELECT a.note FROM orders a, orders b WHERE a.id < ? AND b.id < ?
            db.response.returned_rows = 3000
          server `SELECT orders orders` of mysqld, unset
              db.query.text = SELECT a.note FROM orders a, orders b WHERE a.id < ? AND b.id < ?
              db.response.returned_rows = 3000
    "#]]
    .assert_eq(&told(&mysql, &spans));
}

/// Who may not come in is told of, also where nobody was asked who comes.
#[test]
#[ignore = "needs root"]
fn refused_sign_ins() {
    let mysql = Mysql::start(Flavour::Mysql).unwrap();
    let mut remora = Remora::start().unwrap();
    let program = locate::root().join("agent/engine/fixtures/clients/python/mysql_refused.py");
    tools::sql_program(program.to_str().unwrap(), &[&mysql.address().port().to_string()]).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(mysql.address()).unwrap();
    let spans: Vec<_> = spans.into_iter().filter(|span| span.name == "connect").collect();
    let shown = ["db.namespace", "remora.db.user", "db.response.status_code", "remora.parent.evidence"];
    expect![[r#"
        client `connect` of mysql_refused, error
            db.namespace = golden
            db.response.status_code = 1045
            remora.db.user = golden
          server `connect` of mysqld, error
              db.namespace = golden
              db.response.status_code = 1045
              remora.db.user = golden
              remora.parent.evidence = position
        client `connect` of mysql_refused, error
            db.namespace = missing
            db.response.status_code = 1049
            remora.db.user = golden
          server `connect` of mysqld, error
              db.namespace = missing
              db.response.status_code = 1049
              remora.db.user = golden
              remora.parent.evidence = position
        client `connect` of mysql_refused, error
            db.response.status_code = 1040
          server `connect` of mysqld, error
              db.response.status_code = 1040
              remora.parent.evidence = position
    "#]]
    .assert_eq(&outline(&spans, &Names::of(&[("MYSQL", mysql.address())]), Show::Only(&shown)));
}

/// Both sides, with what was asked and what came back.
fn told(mysql: &Mysql, spans: &[remora_tests::span::Span]) -> String {
    let shown = ["db.query.text", "db.response.status_code", "error.type", "db.response.returned_rows"];
    outline(spans, &Names::of(&[("MYSQL", mysql.address())]), Show::Only(&shown))
}
