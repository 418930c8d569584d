use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::Parser as _;

use super::*;
use crate::attach::{Platform, Platforms};
use crate::capture::DatagramPorts;
use crate::export::{Compression, Format, Protocol};

fn arguments(words: &str) -> RunArguments {
    let line =
        CommandLine::try_parse_from(["remora", "run"].into_iter().chain(words.split_whitespace())).unwrap();
    match line.command {
        Command::Run(arguments) => *arguments,
        other => panic!("{other:?}"),
    }
}

fn settings(words: &str, variables: &[(&str, &str)], file: &str) -> Result<Settings, Error> {
    let look_up = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let file = toml::from_str(file)
        .map_err(|source| Error::Parse { path: "test.toml".into(), source: Box::new(source) })?;
    Settings::for_run(&arguments(words), &Environment::from_fn(&look_up), &file)
}

fn endpoint(words: &str, variables: &[(&str, &str)], file: &str) -> String {
    settings(words, variables, file).unwrap().export.unwrap().endpoint.uri.to_string()
}

#[test]
fn defaults_are_complete() {
    let settings = settings("", &[], "").unwrap();
    let export = settings.export.unwrap();
    assert_eq!(export.endpoint.uri.to_string(), "http://127.0.0.1:4317/");
    assert_eq!(export.compression, Compression::None);
    let spool = export.spool.unwrap();
    assert_eq!((spool.folder.as_path(), spool.max_bytes), (Path::new("/var/lib/remora/spool"), 256 << 20));
    assert!(!spool.is_required);
    assert_eq!(settings.capture.bytes, 4096);
    assert_eq!(settings.metrics.unwrap().address, SocketAddr::from(([127, 0, 0, 1], 7655)));
    assert_eq!(settings.selection.receiver_port, Some(4317));
    assert!(settings.engine.parsers.redact_statements);
    assert_eq!(settings.print, None);
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file() {
    let file = "[otlp]\nendpoint = \"http://file:4317\"";
    let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:4317");
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4317");
    assert_eq!(endpoint("--otlp http://flag:4317", &[general, traces], file), "http://flag:4317/");
    assert_eq!(endpoint("", &[general, traces], file), "http://traces:4317/");
    assert_eq!(endpoint("", &[general], file), "http://general:4317/");
    assert_eq!(endpoint("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], file), "http://file:4317/");
}

#[test]
fn the_variables_of_the_specification_are_honoured() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318/base"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, x=y"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2500"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/etc/ca.pem"),
    ];
    let export = settings("", &variables, "").unwrap().export.unwrap();
    assert_eq!(export.endpoint.uri.to_string(), "https://collector:4318/base/v1/traces");
    assert_eq!(export.endpoint.protocol, Protocol::HttpProtobuf);
    assert_eq!(export.headers, [("api-key".to_owned(), "a b".to_owned()), ("x".to_owned(), "y".to_owned())]);
    assert_eq!(export.timeout, Duration::from_millis(2500));
    assert_eq!(export.compression, Compression::None);
    assert_eq!(export.certificate.as_deref(), Some(Path::new("/etc/ca.pem")));
}

#[test]
fn remote_receivers_are_packed_for_and_not_looked_for_here() {
    let settings = settings("--otlp http://10.1.2.3:4317", &[], "").unwrap();
    assert_eq!(settings.export.unwrap().compression, Compression::Gzip);
    assert_eq!(settings.selection.receiver_port, None);
}

#[test]
fn a_file_with_every_key() {
    let file = r#"
        select = ["exe=/usr/bin/python*", "port=8080"]
        exclude = ["cmd=*test*"]
        print = "json"
        attach = "node"
        [otlp]
        endpoint = "http://c:4317"
        protocol = "grpc"
        headers = { authorization = "Bearer x" }
        timeout = "3s"
        compression = "gzip"
        certificate = "/ca.pem"
        queue = "8MiB"
        [spool]
        folder = "/tmp/spool"
        size = "1GiB"
        [capture]
        bytes = 8192
        dns_ports = [53, 5353]
        [redaction]
        statements = false
        query_parameters = ["CardNumber"]
        headers = ["X-Secret"]
        [headers]
        request = ["X-Request-Id"]
        response = ["Server"]
        baggage = ["user.id"]
        [evidence]
        content = "parents"
        [metrics]
        listen = "127.0.0.1:9999"
        [log]
        filter = "debug"
        format = "json"
    "#;
    let settings = settings("", &[], file).unwrap();
    assert_eq!(settings.selection.include.len(), 2);
    assert_eq!(settings.print, Some(Format::Json));
    assert_eq!(settings.attach, "node".parse().unwrap());
    let export = settings.export.unwrap();
    assert_eq!((export.queue_bytes, export.timeout), (8 << 20, Duration::from_secs(3)));
    assert_eq!(export.spool.unwrap().max_bytes, 1 << 30);
    assert_eq!(settings.capture.bytes, 8192);
    assert_eq!(Some(settings.capture.dns_ports), DatagramPorts::of(&[53, 5353]));
    assert_eq!(settings.engine.content_evidence, remora_engine::ContentEvidence::Parents);
    let parsers = settings.engine.parsers;
    assert!(!parsers.redact_statements);
    assert!(parsers.redacted_query_parameters.contains(&"cardnumber".to_owned()));
    assert!(parsers.redacted_query_parameters.contains(&"password".to_owned()), "the defaults stay");
    assert_eq!(*parsers.captured_request_headers, ["x-request-id"]);
    assert_eq!(*parsers.recorded_baggage, ["user.id"]);
    let log = LogSettings::new(
        &LogArguments::default(),
        &Environment::from_fn(&|_| None),
        &toml::from_str(file).unwrap(),
        "info",
    );
    assert_eq!(log.unwrap(), LogSettings { filter: "debug".to_owned(), format: LogFormat::Json });
}

#[test]
fn nothing_is_attached_unless_somebody_said_so() {
    let platforms = |words: &str, file: &str| settings(words, &[], file).unwrap().attach;
    assert_eq!(platforms("", ""), Platforms::default());
    assert_eq!(platforms("--attach node", "").iter().collect::<Vec<_>>(), [Platform::Node]);
    assert_eq!(platforms("--attach off", "attach = \"node\""), Platforms::default());
}

#[test]
fn a_cluster_is_followed_where_there_is_one() {
    let followed = |words: &str, variables: &[(&str, &str)], file: &str| {
        settings(words, variables, file).unwrap().kubernetes
    };
    assert_eq!(followed("", &[], ""), None);
    assert_eq!(followed("--kubernetes off --kubeconfig /k", &[], ""), None);
    let file =
        "[kubernetes]\nnode = \"c\"\nkubeconfig = \"/k\"\ncluster_name = \"east\"\nlabels = [\"team\"]";
    let node = |words: &str, variables: &[(&str, &str)]| followed(words, variables, file).unwrap().node;
    assert_eq!(node("--node a", &[("NODE_NAME", "b")]), "a");
    assert_eq!(node("", &[("NODE_NAME", "b")]), "b");
    assert_eq!(node("", &[]), "c");
    let settings = followed("--kubernetes on", &[], file).unwrap();
    assert_eq!((settings.cluster_name.as_deref(), settings.labels.len()), (Some("east"), 1));
    assert!(settings.well_known_labels);
}

#[test]
fn flags_replace_the_rules_of_the_file() {
    let settings =
        settings("--select pid=1", &[], "select = [\"port=80\"]\nexclude = [\"port=81\"]").unwrap();
    let texts = |rules: &[crate::discover::Rule]| rules.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&settings.selection.include), ["pid=1"]);
    assert_eq!(texts(&settings.selection.exclude), ["port=81"]);
}

#[test]
fn mistakes_are_named() {
    let error = |words: &str, variables: &[(&str, &str)], file: &str| {
        settings(words, variables, file).unwrap_err().to_string()
    };
    assert!(
        error("", &[], "[otlp]\nurl = \"x\"").contains("unknown field `url`, expected one of `endpoint`")
    );
    assert!(error("--select nginx", &[], "").contains("write KEY=PATTERN"));
    assert_eq!(error("--capture-bytes 10", &[], ""), "capture bytes: \"10\" is not between 256 and 16384");
    assert!(error("--metrics-listen 0.0.0.0:7655", &[], "").contains("needs a bearer token"));
    let expected = "OTEL_EXPORTER_OTLP_TIMEOUT: \"10s\" is not a number of milliseconds";
    assert_eq!(error("", &[("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")], ""), expected);
    assert!(!error("", &[("OTEL_EXPORTER_OTLP_HEADERS", "secret")], "").contains("secret"));
    assert!(error("", &[], "attach = \"php\"").starts_with("attach: \"php\" is neither 'off' nor"));
    assert_eq!(error("", &[], "print = \"xml\""), "print: \"xml\" is not none, text or json");
    assert!(error("", &[], "[spool]\nsize = \"big\"").contains("\"big\" is no size"));
}

#[test]
fn no_spool_and_no_metrics_when_so_told() {
    let settings = settings("--spool-size 0 --metrics-listen off", &[], "").unwrap();
    assert_eq!(settings.export.unwrap().spool, None);
    assert_eq!(settings.metrics, None);
}

#[test]
fn metrics_for_the_network_ask_for_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "s3cret\n").unwrap();
    let file = format!("[metrics]\nlisten = \"0.0.0.0:0\"\ntoken_file = {path:?}");
    assert_eq!(settings("", &[], &file).unwrap().metrics.unwrap().token.as_deref(), Some("s3cret"));
}

#[test]
fn contexts_are_written_only_where_somebody_said_so() {
    let default = settings("", &[], "").unwrap().propagation;
    assert_eq!(default, Propagation { what: Propagate::Auto, cgroups: Vec::new() });
    let file = "[propagate]\nwhat = \"headers\"\ncgroups = [\"/shop\"]";
    let written = settings("", &[], file).unwrap().propagation;
    assert_eq!(written, Propagation { what: Propagate::Headers, cgroups: vec!["/shop".into()] });
    let flags =
        settings("--propagate off --propagate-in /a --propagate-in /b", &[], file).unwrap().propagation;
    assert_eq!(flags, Propagation { what: Propagate::Off, cgroups: vec!["/a".into(), "/b".into()] });
    assert_eq!(settings("--propagate tcp", &[], file).unwrap().propagation.what, Propagate::Tcp);
    let error = settings("", &[], "[propagate]\nwhat = \"all\"").unwrap_err();
    assert_eq!(error.to_string(), "propagate.what: \"all\" is not auto, off, headers or tcp");
}

#[test]
fn content_evidence_is_a_choice() {
    let chosen = |words: &str, file: &str| settings(words, &[], file).map(|all| all.engine.content_evidence);
    use remora_engine::ContentEvidence::{Links, Off, Parents};
    let file = "[evidence]\ncontent = \"off\"";
    assert_eq!(chosen("", "").unwrap(), Links);
    assert_eq!(chosen("", file).unwrap(), Off);
    assert_eq!(chosen("--content-evidence parents", file).unwrap(), Parents);
    let error = chosen("", "[evidence]\ncontent = \"some\"").unwrap_err();
    assert_eq!(error.to_string(), "evidence.content: \"some\" is not off, links or parents");
}
