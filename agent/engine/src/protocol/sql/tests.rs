//! Statements and what they become.

use super::{Dialect, Options, Statement, read};
use crate::semconv::Text;

const OPTIONS: Options = Options {
    dialect: Dialect::Postgresql,
    redact: true,
    max_bytes: 4096,
    backslash_escapes: false,
    mark_key: Some(1),
};

fn redacted(statement: &str) -> Text {
    read(statement.as_bytes(), OPTIONS).text
}

fn summary(statement: &str) -> Text {
    read(statement.as_bytes(), OPTIONS).summary
}

#[test]
fn literals_are_replaced() {
    for (statement, expected) in [
        ("SELECT * FROM t WHERE a = 'x''y' AND b=5", "SELECT * FROM t WHERE a = ? AND b=?"),
        ("select E'it\\'s', U&'\\0041', B'01', x'1F', N'n'", "select ?, ?, ?, ?, ?"),
        ("select $$it's$$, $a$ $$ $b$ $a$, $1", "select ?, ?, $1"),
        ("select 1, 1.5, .5, 1e-5, 1E+5, 0x1F, 1_000, 12abc", "select ?, ?, ?, ?, ?, ?, ?, ?"),
        ("select a1, t.b2, \"c 3\", a-1, a - 1", "select a1, t.b2, \"c 3\", a-?, a - ?"),
        ("where a = -1 and b in (-1) and c>+2", "where a = ? and b in (?) and c>?"),
        ("DATE '2020-01-01' + INTERVAL '1 day'::x", "DATE ? + INTERVAL ?::x"),
        ("select 'a'\n  'b', 'c'", "select ?, ?"),
        (
            "update t set a = TRUE, b = false where c is true or d is not false",
            "update t set a = ?, b = ? where c is true or d is not false",
        ),
        ("select\n\t1 -- one\n , /* two /* three */ */ 2;\n", "select ? , ?"),
        ("where a like '%x%' escape '\\' and b = 'secret'", "where a like ? escape ? and b = ?"),
        ("select a::text[1], arr[2:3]", "select a::text[?], arr[?:?]"),
        ("", ""),
    ] {
        assert_eq!(redacted(statement), expected);
    }
}

#[test]
fn words_that_settings_have_as_values_are_literals() {
    for (statement, expected) in [
        ("set my.pw = topsecret", "set my.pw = ?"),
        ("SET LOCAL a.b TO s3, \"x y\"", "SET LOCAL a.b TO ?, ?"),
        ("set a = x, b = y + 1, c := z", "set a = ?, b = ? + ?, c := ?"),
        ("set a = concat(b, 'c'), d = e", "set a = concat(b, ?), d = ?"),
        ("set a = on, b = default; select c = d", "set a = on, b = default; select c = d"),
        ("alter role bob set my.pw to word", "alter role bob set my.pw to ?"),
        ("alter table t rename to u", "alter table t rename to u"),
        ("update t set a = b, c = d", "update t set a = b, c = d"),
        ("set names utf8mb4", "set names utf8mb4"),
        ("set a = (select b from c)", "set a = (select b from c)"),
        ("set time zone utc; set x to y", "set time zone utc; set x to ?"),
    ] {
        assert_eq!(redacted(statement), expected);
    }
}

#[test]
fn backslashes_escape_where_the_server_says_so() {
    let options = Options { backslash_escapes: true, ..OPTIONS };
    assert_eq!(read(b"select 'it\\'s secret' from t", options).text, "select ? from t");
    assert_eq!(redacted("select 'it\\' from t"), "select ? from t");
}

#[test]
fn lists_are_shortened() {
    for (statement, expected) in [
        ("a IN (1, 2, 3)", "a IN (?)"),
        ("a in ($1,$2) and b not in ( 'x' )", "a in (?) and b not in (?)"),
        ("a IN (SELECT 1, 2)", "a IN (SELECT ?, ?)"),
        ("a IN (lower('x'), 'y')", "a IN (lower(?), ?)"),
        (
            "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c') RETURNING id",
            "INSERT INTO t VALUES (?, ?) RETURNING id",
        ),
        ("VALUES (1, now()), (2, 3), (4, 5)", "VALUES (?, now()), (?, ?)"),
        ("VALUES (1), ((2))", "VALUES (?), ((?))"),
        ("f(1, 2), (3, 4)", "f(?, ?), (?, ?)"),
        ("a in ()", "a in ()"),
    ] {
        assert_eq!(redacted(statement), expected);
    }
}

#[test]
fn cut_statements_show_no_literal() {
    let statement = "SELECT E'a\\'b', $x$ c $x$, 'd', U&'e', 12.5e-3 /* f */ FROM t WHERE g = 'secret'";
    for end in 0..=statement.len() {
        let text = redacted(&statement[..end]);
        assert!(text.len() <= end, "{text}");
        for literal in ["a", "b'", " c ", "'d", "'e", "12", "f ", "secr"] {
            assert!(!text.contains(literal), "{literal} in {text}");
        }
    }
    assert_eq!(read(statement.as_bytes(), Options { max_bytes: 7, ..OPTIONS }).text, "SELECT");
}

#[test]
fn nothing_is_changed_where_redaction_is_off() {
    let options = Options { redact: false, ..OPTIONS };
    assert_eq!(read(b" select  1 -- x", options).text, "select  1 -- x");
}

#[test]
fn summaries_of_the_conventions() {
    for (statement, expected) in [
        ("SELECT * FROM wuser_table WHERE username = ?", "SELECT wuser_table"),
        (
            "INSERT INTO shipping_details (order_id, address) SELECT order_id, address FROM orders WHERE order_id = ?",
            "INSERT shipping_details SELECT orders",
        ),
        ("SELECT * FROM songs, artists WHERE songs.artist_id == artists.id", "SELECT songs artists"),
        (
            "SELECT order_date FROM (SELECT * FROM orders o JOIN customers c ON o.customer_id = c.customer_id)",
            "SELECT SELECT orders customers",
        ),
        ("SELECT * FROM \"song list\", \"artists\"", "SELECT \"song list\" \"artists\""),
        ("call some_stored_procedure(1)", "call some_stored_procedure"),
    ] {
        assert_eq!(summary(statement), expected);
    }
}

#[test]
fn summaries_of_queries() {
    for (statement, expected) in [
        ("select 1", "select"),
        (
            "SELECT a FROM ONLY public.t AS x, LATERAL f(1, 2) y WHERE b IN (SELECT c FROM u)",
            "SELECT public.t f SELECT u",
        ),
        ("SELECT a FROM x LEFT JOIN y USING (id), z GROUP BY a, b", "SELECT x y z"),
        ("SELECT a FROM (x JOIN y ON x.a = y.a) WHERE 1 = 1", "SELECT x y"),
        ("SELECT EXTRACT(year FROM d), trim(both from e) FROM t", "SELECT t"),
        ("SELECT 1 WHERE a IS DISTINCT FROM b", "SELECT"),
        ("SELECT a FROM t WHERE b = 1 FOR UPDATE OF t, u", "SELECT t"),
        ("SELECT a FROM t FOR NO KEY UPDATE", "SELECT t"),
        ("SELECT a FROM t UNION ALL SELECT b FROM u ORDER BY 1, 2", "SELECT t SELECT u"),
        (
            "WITH a AS (SELECT 1 FROM x), b (c) AS MATERIALIZED (SELECT 2 FROM a) SELECT * FROM a, b, y",
            "SELECT x SELECT SELECT y",
        ),
        ("WITH RECURSIVE a AS (SELECT 1) INSERT INTO t SELECT * FROM a", "SELECT INSERT t SELECT"),
        ("INSERT INTO t (a, b) VALUES (1, 2) ON CONFLICT (a) DO UPDATE SET b = 3 RETURNING a", "INSERT t"),
        ("UPDATE ONLY t SET a = 1, b = 2 FROM u, v WHERE c = 3", "UPDATE t u v"),
        ("DELETE FROM t USING u, v WHERE a = 1", "DELETE t u v"),
        (
            "MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN UPDATE SET b = 1 WHEN NOT MATCHED THEN INSERT (a) VALUES (1)",
            "MERGE t s",
        ),
        ("TABLE t", "TABLE t"),
        ("VALUES (1), (2)", "VALUES"),
        ("EXPLAIN (ANALYZE, VERBOSE) SELECT 1 FROM t", "EXPLAIN SELECT t"),
        ("EXPLAIN ANALYZE SELECT 1 FROM t", "EXPLAIN SELECT t"),
        ("SELECT a.b.c FROM \"a b\" . \"c\" d", "SELECT \"a b\".\"c\""),
        ("/* c */ SELECT 1 FROM t -- d", "SELECT t"),
        ("((SELECT 1 FROM t))", "SELECT t"),
    ] {
        assert_eq!(summary(statement), expected, "{statement}");
    }
}

#[test]
fn summaries_of_other_statements() {
    for (statement, expected) in [
        (
            "CREATE TABLE IF NOT EXISTS a.b (id int REFERENCES c ON DELETE CASCADE, d text)",
            "CREATE TABLE a.b",
        ),
        ("CREATE TEMP TABLE t AS SELECT * FROM u", "CREATE TABLE t SELECT u"),
        ("CREATE OR REPLACE VIEW v AS WITH x AS (SELECT 1) SELECT * FROM u", "CREATE VIEW v SELECT SELECT u"),
        ("CREATE MATERIALIZED VIEW v AS SELECT 1", "CREATE MATERIALIZED VIEW v SELECT"),
        ("CREATE UNIQUE INDEX CONCURRENTLY i ON t (a, b)", "CREATE INDEX i"),
        ("CREATE INDEX ON t (a)", "CREATE INDEX t"),
        ("CREATE FUNCTION f() RETURNS int AS $$ SELECT 1 FROM x $$ LANGUAGE sql", "CREATE FUNCTION f"),
        ("ALTER TABLE ONLY t ADD COLUMN a int DEFAULT 1", "ALTER TABLE t"),
        ("DROP TABLE IF EXISTS t CASCADE", "DROP TABLE t"),
        ("TRUNCATE TABLE a, b", "TRUNCATE a b"),
        ("COPY t (a, b) FROM STDIN WITH (FORMAT csv)", "COPY t"),
        ("COPY (SELECT a FROM t) TO STDOUT", "COPY SELECT t"),
        ("VACUUM (FULL) t", "VACUUM"),
        ("VACUUM FULL t", "VACUUM t"),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY v", "REFRESH v"),
        ("DECLARE c CURSOR FOR SELECT 1 FROM t", "DECLARE SELECT t"),
        ("FETCH 10 FROM c", "FETCH"),
        ("PREPARE p (int) AS SELECT 1 FROM t", "PREPARE SELECT t"),
        ("EXECUTE p (1)", "EXECUTE"),
        ("GRANT SELECT ON t TO u", "GRANT"),
        ("REVOKE ALL ON t FROM u", "REVOKE"),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN"),
        ("START TRANSACTION READ ONLY", "START TRANSACTION"),
        ("SET search_path TO a, b", "SET"),
        ("ROLLBACK TO SAVEPOINT a", "ROLLBACK"),
        ("DO $$ BEGIN DELETE FROM t; END $$", "DO"),
        ("frobnicate the database", ""),
        ("", ""),
    ] {
        assert_eq!(summary(statement), expected, "{statement}");
    }
}

#[test]
fn single_operations_and_collections_are_told() {
    let parts = |statement: &str| {
        let Statement { operation, collection, procedure, count, .. } = read(statement.as_bytes(), OPTIONS);
        (operation.unwrap_or_default(), collection.unwrap_or_default(), procedure.unwrap_or_default(), count)
    };
    let own = |a: &'static str, b: &'static str, c: &'static str, d| (Text::Static(a), b.into(), c.into(), d);
    assert_eq!(parts("SELECT 1 FROM t"), own("SELECT", "t", "", 1));
    assert_eq!(parts("SELECT 1 FROM t, u"), own("SELECT", "", "", 1));
    assert_eq!(parts("INSERT INTO t SELECT 1 FROM t"), own("", "t", "", 1));
    assert_eq!(parts("CREATE TABLE t (a int)"), own("CREATE TABLE", "t", "", 1));
    assert_eq!(parts("SELECT 1 FROM t, f(1)"), own("SELECT", "t", "", 1));
    assert_eq!(parts("SELECT 1 FROM generate_series(1, 2)"), own("SELECT", "", "", 1));
    assert_eq!(parts("ALTER USER bob SUPERUSER"), own("ALTER USER", "", "", 1));
    assert_eq!(parts("CREATE FOREIGN TABLE t (a int)"), own("CREATE FOREIGN", "t", "", 1));
    assert_eq!(parts("DROP VIEW v"), own("DROP VIEW", "v", "", 1));
    assert_eq!(parts("CALL p(1)"), own("CALL", "", "p", 1));
    assert_eq!(parts("SELECT 1; ;"), own("SELECT", "", "", 1));
    assert_eq!(parts("BEGIN; SELECT 1; COMMIT"), own("", "", "", 3));
    assert_eq!(parts("SELECT 1 FROM t; SELECT 2 FROM t"), own("BATCH SELECT", "t", "", 2));
    assert_eq!(parts(" -- nothing"), own("", "", "", 0));
}

#[test]
fn batches_are_named_by_what_they_share() {
    assert_eq!(summary("BEGIN; SELECT 1; COMMIT"), "BATCH");
    assert_eq!(summary("SELECT 1 FROM t; SELECT 2 FROM t;"), "BATCH SELECT t");
}

#[test]
fn long_summaries_are_cut_between_words() {
    let tables: Vec<String> = (0..100).map(|number| format!("table_{number}")).collect();
    let long = summary(&format!("SELECT 1 FROM {}", tables.join(", ")));
    assert!(long.len() <= 255 && long.len() > 230, "{long}");
    assert!(long.split(' ').skip(1).all(|name| tables.iter().any(|table| table == name)), "{long}");
}

#[test]
fn contexts_in_comments_are_read() {
    let statement = concat!(
        "SELECT 1 /*db_driver='x',traceparent='00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',",
        "tracestate='congo%3Dt61%2Crojo%3D00f'*/",
    );
    let context = read(statement.as_bytes(), OPTIONS).context.expect("context");
    assert_eq!(context.state, "congo=t61,rojo=00f");
}

#[test]
fn deep_nesting_is_survived() {
    let deep = format!("SELECT {}1 FROM t{}", "(".repeat(1000), ")".repeat(1000));
    assert_eq!(summary(&deep), "SELECT");
    assert_eq!(redacted(&deep).len(), deep.len());
}

const MYSQL: Options = Options { dialect: Dialect::Mysql, backslash_escapes: true, ..OPTIONS };

#[test]
fn mysql_quotes_and_comments_otherwise() {
    for (statement, expected) in [
        ("SELECT \"it's\", 'it\\'s', `it's`, x'4D', 0b1", "SELECT ?, ?, `it's`, ?, ?"),
        ("SELECT 1 # secret 'a\n, 2 -- secret\n, 3--4", "SELECT ? , ? , ?--?"),
        ("/*!40101 SET @a = 'secret' */ /* 'b' */", "SET @a = ?"),
        ("/*M!100100 SELECT 1 */; SELECT /*+ hint */ 2", "SELECT ? ; SELECT ?"),
        ("SELECT /* a /* b */ 'secret'", "SELECT ?"),
        ("SELECT $a, $$, u&'secret', _utf8'secret', N'secret'", "SELECT $a, $$, u&?, _utf8?, ?"),
        ("INSERT INTO t VALUES (?, ?), (?, ?)", "INSERT INTO t VALUES (?, ?)"),
        ("SELECT a->'$.secret', @b := 5, 1 DIV 2", "SELECT a->?, @b := ?, ? DIV ?"),
        ("SELECT \"a\"\"secret\", 'secret", "SELECT ?, ?"),
    ] {
        assert_eq!(read(statement.as_bytes(), MYSQL).text, expected);
    }
}

#[test]
fn summaries_of_mysql() {
    for (statement, expected) in [
        (
            "SELECT `a`.`b` FROM `shop`.`orders` AS `o` STRAIGHT_JOIN `my table`",
            "SELECT shop.orders `my table`",
        ),
        ("INSERT IGNORE t VALUES (1) ON DUPLICATE KEY UPDATE a = 2", "INSERT t"),
        ("REPLACE LOW_PRIORITY INTO t SELECT * FROM u", "REPLACE t SELECT u"),
        ("UPDATE LOW_PRIORITY IGNORE t SET a = 1", "UPDATE t"),
        ("DELETE t, u FROM t JOIN u USING (id)", "DELETE t u"),
        ("LOAD DATA LOCAL INFILE 'x' INTO TABLE t (a)", "LOAD t"),
        ("DROP TEMPORARY TABLE IF EXISTS `t`", "DROP TABLE t"),
        ("OPTIMIZE TABLE t, u", "OPTIMIZE t u"),
        ("LOCK TABLES t READ", "LOCK t"),
        ("DESCRIBE SELECT 1 FROM t", "DESCRIBE SELECT t"),
        ("USE shop", "USE shop"),
        ("/*!40000 ALTER TABLE t DISABLE KEYS */", "ALTER TABLE t"),
        ("CREATE DEFINER=`me`@`%` PROCEDURE p() BEGIN SELECT 1; SELECT 2; END", "CREATE PROCEDURE p"),
        ("CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END", "CREATE PROCEDURE p"),
    ] {
        assert_eq!(read(statement.as_bytes(), MYSQL).summary, expected, "{statement}");
    }
}

#[test]
fn the_database_that_a_statement_changes_to_is_told() {
    let database = |statement: &str| read(statement.as_bytes(), MYSQL).database;
    assert_eq!(database("use `shop`"), Some("shop".to_owned()));
    assert_eq!(database("SELECT 1; USE a; USE b"), Some("b".to_owned()));
    assert_eq!(database("SELECT 1"), None);
    assert_eq!(read(b"USE shop", MYSQL).collection, None);
}
