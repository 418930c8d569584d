//! Names that are looked up by dig, by glibc and by Go, from dnsmasq.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use expect_test::expect;
use remora_tests::remora::Remora;
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::servers::{Dnsmasq, GoService, HttpServer};
use remora_tests::span::{Names, Span};
use remora_tests::{locate, net, tools};

use crate::whole;

/// How long a server may take until it answers.
const READY_WITHIN: Duration = Duration::from_secs(60);

fn names() -> Names {
    Names::of(&[("DNSMASQ", Dnsmasq::address())])
}

#[test]
#[ignore = "needs root"]
fn dig_asks_by_datagram() {
    let _dnsmasq = Dnsmasq::start().unwrap();
    let mut remora = Remora::start().unwrap();
    Dnsmasq::dig(&["WWW.Remora.test", "A"]).unwrap();
    let spans = remora.finish().unwrap().spans_with("dns.question.name", &Dnsmasq::NAME.into()).unwrap();
    expect![[r#"
        client `DNS A` of dig, unset
            dns.answers = ["127.0.0.1"]
            dns.question.name = www.remora.test
            network.peer.address = 127.83.12.53
            network.peer.port = DNSMASQ.port
            network.protocol.name = dns
            network.transport = udp
            remora.dns.question.type = A
            remora.dns.response.code = NOERROR
            server.address = 127.83.12.53
            server.port = DNSMASQ.port
          server `DNS A` of dnsmasq, unset
              client.address = 127.0.0.1
              client.port = *
              dns.answers = ["127.0.0.1"]
              dns.question.name = www.remora.test
              network.peer.address = 127.0.0.1
              network.peer.port = *
              network.protocol.name = dns
              network.transport = udp
              remora.dns.question.type = A
              remora.dns.response.code = NOERROR
              remora.parent.evidence = position
              server.address = 127.83.12.53
              server.port = DNSMASQ.port
    "#]]
    .assert_eq(&whole(&spans, &names()));
}

#[test]
#[ignore = "needs root"]
fn dig_asks_over_tcp() {
    let _dnsmasq = Dnsmasq::start().unwrap();
    let mut remora = Remora::start().unwrap();
    Dnsmasq::dig(&["+tcp", "missing.remora.test", "AAAA"]).unwrap();
    let spans =
        remora.finish().unwrap().spans_with("dns.question.name", &"missing.remora.test".into()).unwrap();
    expect![[r#"
        client `DNS AAAA` of dig, error
            dns.question.name = missing.remora.test
            error.type = NXDOMAIN
            network.peer.address = 127.83.12.53
            network.peer.port = DNSMASQ.port
            network.protocol.name = dns
            remora.dns.question.type = AAAA
            remora.dns.response.code = NXDOMAIN
            server.address = 127.83.12.53
            server.port = DNSMASQ.port
          server `DNS AAAA` of dnsmasq, unset
              client.address = 127.0.0.1
              client.port = *
              dns.question.name = missing.remora.test
              network.peer.address = 127.0.0.1
              network.peer.port = *
              network.protocol.name = dns
              remora.dns.question.type = AAAA
              remora.dns.response.code = NXDOMAIN
              remora.parent.evidence = position
              server.address = 127.83.12.53
              server.port = DNSMASQ.port
    "#]]
    .assert_eq(&whole(&spans, &names()));
}

/// Returns what was looked up below the only server's span with this name, in alphabetical order.
fn lookups(spans: &[Span], server: &str) -> Vec<String> {
    let servers: Vec<_> = spans.iter().filter(|span| span.kind == "server" && span.name == server).collect();
    let [server] = servers[..] else { panic!("one `{server}`: {servers:?}") };
    let asked = spans.iter().filter(|span| span.kind == "client" && span.name.starts_with("DNS "));
    let mut lookups: Vec<_> = asked
        .map(|span| {
            assert_eq!(span.parent_id.as_ref(), Some(&server.span_id), "{span:?}");
            let answers = span.attributes.get("dns.answers").map(ToString::to_string).unwrap_or_default();
            format!("{} {} {answers}", span.name, span.status)
        })
        .collect();
    lookups.sort_unstable();
    lookups
}

#[test]
#[ignore = "needs root"]
fn a_lookup_of_glibc_belongs_to_the_request_whose_thread_asked() {
    let dnsmasq = Dnsmasq::start().unwrap();
    let scratch = Scratch::new("lookup").unwrap();
    let address = net::free_address().unwrap();
    let mut command = Command::new(locate::testenv().join("python/bin/python"));
    command.arg(locate::apps().join("python/lookup.py")).arg(address.port().to_string());
    let mut server =
        Running::start("lookup.py", &scratch, &mut dnsmasq.resolving(&command).unwrap()).unwrap();
    let ask = |address: SocketAddr, name: &str| tools::curl(&[&format!("http://{address}/{name}")]);
    server.wait_ready(READY_WITHIN, || Ok(ask(address, "127.0.0.1")? == "found")).unwrap();
    let mut remora = Remora::start().unwrap();
    assert_eq!(ask(address, Dnsmasq::NAME).unwrap(), "found");
    let spans = remora.finish().unwrap().spans_of_server(address).unwrap();
    assert_eq!(
        lookups(&spans, &format!("GET /{}", Dnsmasq::NAME)),
        ["DNS A unset [\"127.0.0.1\"]", "DNS AAAA unset [\"::1\"]"]
    );
}

/// musl asks by `sendto`, from a socket without a peer.
#[test]
#[ignore = "needs root"]
fn lookups_of_musl_are_seen_and_joined() {
    let dnsmasq = Dnsmasq::start().unwrap();
    let scratch = Scratch::new("musl").unwrap();
    let program = scratch.path().join("lookup");
    let mut compiler = Command::new(locate::program("musl-gcc").unwrap());
    compiler.args(["-static", "-o"]).arg(&program).arg(locate::apps().join("c/lookup.c"));
    tools::printed(&mut compiler).unwrap();
    let mut remora = Remora::start().unwrap();
    let mut lookup = Command::new(program);
    let found = tools::printed(&mut dnsmasq.resolving(lookup.arg(Dnsmasq::NAME)).unwrap()).unwrap();
    assert!(["127.0.0.1", "::1"].contains(&found.trim()), "{found}");
    let spans = remora.finish().unwrap().spans_with("dns.question.name", &Dnsmasq::NAME.into()).unwrap();
    let of = |kind: &str| {
        let mut spans: Vec<_> = spans.iter().filter(|span| span.kind == kind).collect();
        spans.sort_unstable_by_key(|span| &span.name);
        spans
    };
    let (asked, served) = (of("client"), of("server"));
    let names = |spans: &[&Span]| spans.iter().map(|span| span.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&asked), ["DNS A", "DNS AAAA"]);
    assert_eq!(names(&served), names(&asked));
    for (asked, served) in asked.iter().zip(served) {
        assert_eq!(asked.text("server.address"), Some("127.83.12.53"), "{asked:#?}");
        assert_eq!(served.text("client.address"), Some("127.0.0.1"), "{served:#?}");
        assert_eq!((&served.parent_id, &served.trace_id), (&Some(asked.span_id.clone()), &asked.trace_id));
    }
}

/// Go's resolver asks once for all goroutines that want a name at the same time, in goroutines of its own: whose the
/// lookup is cannot be told.
#[test]
#[ignore = "needs root"]
fn lookups_of_go_belong_to_nobody() {
    let dnsmasq = Dnsmasq::start().unwrap();
    let upstream = HttpServer::files(IpAddr::V4(Ipv4Addr::LOCALHOST), &[("plain", b"x")]).unwrap();
    let url = format!("http://{}:{}", Dnsmasq::NAME, upstream.address().port());
    let items = GoService::start_within(&["-upstream".to_owned(), url], |mut command| {
        command.env("GODEBUG", "netdns=go");
        dnsmasq.resolving(&command)
    })
    .unwrap();
    let mut remora = Remora::start().unwrap();
    tools::curl(&[&format!("{}/relay/7", items.url())]).unwrap();
    let spans = remora.finish().unwrap().spans_with("dns.question.name", &Dnsmasq::NAME.into()).unwrap();
    let is_asked = |span: &&Span| span.kind == "client" && span.service == "items";
    let mut asked: Vec<_> = spans
        .iter()
        .filter(is_asked)
        .map(|span| (span.name.as_str(), span.status.as_str(), span.parent_id.as_deref()))
        .collect();
    asked.sort_unstable();
    assert_eq!(asked, [("DNS A", "unset", None), ("DNS AAAA", "unset", None)]);
}
