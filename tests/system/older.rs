//! Connections that were open before the agent started.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{ChildStdin, ChildStdout, Stdio};

use anyhow::{Context as _, Result};
use expect_test::expect;
use remora_tests::load::{self, Request};
use remora_tests::remora::Remora;
use remora_tests::servers::{Gunicorn, Postgres, Redis, Workers};
use remora_tests::span::{Names, Show, outline};
use remora_tests::tools;

/// A psql that waits for statements.
struct Session {
    child: std::process::Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Session {
    fn open(postgres: &Postgres) -> Result<Self> {
        let mut command = tools::psql_command("127.0.0.1", postgres.address().port(), &[])?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("psql has no output")?);
        Ok(Self { child, input, output })
    }

    /// Runs a statement and returns the first line of its result.
    fn run(&mut self, statement: &str) -> Result<String> {
        let input = self.input.as_mut().context("psql has no input")?;
        writeln!(input, "{statement};")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The end of its input ends psql.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "needs root"]
fn a_database_session_and_a_kept_http_connection() {
    let (postgres, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
    let shop = Gunicorn::start(Workers::Threads(1), &[("REDIS_URL", redis.url())]).unwrap();
    let mut session = Session::open(&postgres).unwrap();
    assert_eq!(session.run("SELECT 1").unwrap(), "1");
    let mut kept = TcpStream::connect(shop.address()).unwrap();
    let request =
        |path: &str| Request { path: path.to_owned(), headers: Vec::new(), expected: "hello".to_owned() };
    load::exchange(&mut kept, shop.address(), &request("/cached/before")).unwrap();

    let mut remora = Remora::start().unwrap();
    assert_eq!(session.run("SELECT note FROM orders WHERE id = 100001").unwrap(), "note 100001");
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
