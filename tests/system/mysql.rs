//! MySQL 8 and MariaDB, with MariaDB's own client, PyMySQL and MySQL's connector in C.

use expect_test::expect;
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
    expect![[r#""#]].assert_eq(&whole(&spans, &Names::of(&[("MARIADB", mariadb.address())])));
}

#[test]
#[ignore = "needs root"]
fn statements_of_all_kinds() {
    let mysql = Mysql::start(Flavour::Mysql).unwrap();
    let mut remora = Remora::start().unwrap();
    tools::sql_program("pymysql_orders.py", &[&mysql.address().port().to_string()]).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(mysql.address()).unwrap();
    expect![[r#""#]].assert_eq(&told(&mysql, &spans));
}

#[test]
#[ignore = "needs root"]
fn prepared_statements() {
    let mysql = Mysql::start(Flavour::Mysql).unwrap();
    let mut remora = Remora::start().unwrap();
    tools::sql_program("connector_orders.py", &[&mysql.address().port().to_string(), "plain"]).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(mysql.address()).unwrap();
    expect![[r#""#]].assert_eq(&told(&mysql, &spans));
}

#[test]
#[ignore = "needs root"]
fn a_compressed_connection() {
    let mysql = Mysql::start(Flavour::Mysql).unwrap();
    let mut remora = Remora::start().unwrap();
    tools::sql_program("connector_orders.py", &[&mysql.address().port().to_string(), "compressed"]).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(mysql.address()).unwrap();
    expect![[r#""#]].assert_eq(&told(&mysql, &spans));
}

/// Both sides, with what was asked and what came back.
fn told(mysql: &Mysql, spans: &[remora_tests::span::Span]) -> String {
    let shown = ["db.query.text", "db.response.status_code", "error.type", "db.response.returned_rows"];
    outline(spans, &Names::of(&[("MYSQL", mysql.address())]), Show::Only(&shown))
}
