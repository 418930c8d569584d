//! Settings: complete and valid.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum as _;
use remora_engine::protocol::ParserSettings;

use super::Error;
use super::arguments::{ContentEvidence, Kubernetes, LogArguments, Print, Propagate, RunArguments, Switch};
use super::environment::{self, Environment};
use super::file::{self, File};
use crate::attach::Platforms;
use crate::capture::DatagramPorts;
use crate::discover::{Rule, Selection};
use crate::export::{self, Compression, Endpoint, Format, Protocol, SpoolSettings};
use crate::kubernetes;

/// Where spans go unless told otherwise.
pub const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:4317";
const DEFAULT_SPOOL: &str = "/var/lib/remora/spool";
const DEFAULT_SPOOL_BYTES: u64 = 256 << 20;
const DEFAULT_METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7655);
const DEFAULT_CAPTURE_BYTES: u32 = 4096;
/// Least that a request line and the headers that matter usually need.
const MIN_CAPTURE_BYTES: u32 = 256;

/// Everything that a run needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which processes are observed.
    pub selection: Selection,
    /// What is copied from the kernel.
    pub capture: Capture,
    /// What the engine makes of it.
    pub engine: remora_engine::Settings,
    /// Where spans go; nowhere if none.
    pub export: Option<export::Settings>,
    /// How spans are printed to stdout; not at all if none.
    pub print: Option<Format>,
    /// The agent's own metrics; none if off.
    pub metrics: Option<Metrics>,
    /// What is written into requests.
    pub propagation: Propagation,
    /// Which processes get a part.
    pub attach: Platforms,
    /// How the API server of a cluster is followed; not at all if none.
    pub kubernetes: Option<kubernetes::Settings>,
}

/// What is written into requests, and by whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Propagation {
    /// Which contexts.
    pub what: Propagate,
    /// Cgroups whose processes write.
    pub cgroups: Vec<PathBuf>,
}

/// What is copied from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Bytes of each call at most.
    pub bytes: u32,
    /// Ports of DNS over UDP.
    pub dns_ports: DatagramPorts,
    /// Whether TLS libraries are probed.
    pub tls: bool,
    /// Whether parts inside JVMs tell what JSSE encrypts.
    pub jsse: bool,
}

/// The metrics server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Where it listens.
    pub address: SocketAddr,
    /// What `/metrics` asks for.
    pub token: Option<String>,
}

impl Metrics {
    /// Returns where a running agent is asked; none if it is not. A token that cannot be read is left out.
    ///
    /// # Errors
    /// The flag or the file names no address.
    pub fn to_ask(flag: Option<&str>, file: &File) -> Result<Option<Self>, Error> {
        let token = || read_token(file.metrics.token_file.as_deref()?).ok();
        Ok(metrics_address(flag, file, "agent")?.map(|address| Self { address, token: token() }))
    }
}

/// The agent's own log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// As in `RUST_LOG`.
    pub filter: String,
    /// How lines are written.
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Settings {
    /// Returns the settings for `remora run`.
    ///
    /// # Errors
    /// Something is not what it may be; the message names it.
    pub fn for_run(
        arguments: &RunArguments,
        environment: &Environment<'_>,
        file: &File,
    ) -> Result<Self, Error> {
        let export = export_settings(arguments, environment, file)?;
        let mut selection = selection(&arguments.select, &arguments.exclude, file)?;
        selection.receiver_port = may_be_here(&export.endpoint).then(|| export.endpoint.port());
        Ok(Self {
            selection,
            capture: capture(arguments.capture_bytes, arguments.tls, file)?,
            engine: remora_engine::Settings {
                tells_unknown: arguments.unknown_connections
                    || file.capture.unknown_connections.unwrap_or(false),
                ..engine(arguments.content_evidence, file)?
            },
            print: print(arguments.print, file)?,
            metrics: metrics(arguments.metrics_listen.as_deref(), file)?,
            export: Some(export),
            propagation: propagation(arguments, file)?,
            attach: attach(arguments, file)?,
            kubernetes: kubernetes(arguments, environment, file)?,
        })
    }

    /// Returns the settings for a command that only shows spans.
    ///
    /// # Errors
    /// As [`for_run`](Self::for_run).
    pub fn for_viewing(select: &[String], exclude: &[String], file: &File) -> Result<Self, Error> {
        Ok(Self {
            selection: selection(select, exclude, file)?,
            capture: capture(None, None, file)?,
            engine: engine(None, file)?,
            export: None,
            print: None,
            metrics: None,
            propagation: Propagation { what: Propagate::Off, cgroups: Vec::new() },
            attach: Platforms::default(),
            kubernetes: None,
        })
    }
}

impl LogSettings {
    /// Returns the settings of the log, with a filter for where nobody wants another.
    ///
    /// # Errors
    /// The file names a format that does not exist.
    pub fn new(
        arguments: &LogArguments,
        environment: &Environment<'_>,
        file: &File,
        default_filter: &str,
    ) -> Result<Self, Error> {
        let written = || file.log.filter.clone();
        let filter = arguments.log.clone().or_else(|| environment.get("RUST_LOG")).or_else(written);
        let format = match (arguments.log_format, &file.log.format) {
            (Some(format), _) => format,
            (None, Some(text)) => {
                LogFormat::from_str(text, false).map_err(|_| value("log.format", text, "text or json"))?
            }
            (None, None) => LogFormat::default(),
        };
        Ok(Self { filter: filter.unwrap_or_else(|| default_filter.to_owned()), format })
    }
}

fn value(name: &str, value: &str, expected: &'static str) -> Error {
    Error::Value { name: name.to_owned(), value: value.to_owned(), expected }
}

fn selection(select: &[String], exclude: &[String], file: &File) -> Result<Selection, Error> {
    let rules = |flags: &[String], written: &Option<Vec<String>>| -> Result<Vec<Rule>, Error> {
        let texts = if flags.is_empty() { written.as_deref().unwrap_or_default() } else { flags };
        Ok(texts.iter().map(|text| text.parse()).collect::<Result<_, _>>()?)
    };
    let (include, exclude) = (rules(select, &file.select)?, rules(exclude, &file.exclude)?);
    Ok(Selection { include, exclude, ..Selection::default() })
}

/// A receiver that is named by an address of another host is not looked for here.
fn may_be_here(endpoint: &Endpoint) -> bool {
    endpoint.is_loopback() || endpoint.host().parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}

fn capture(flag: Option<u32>, tls: Option<Switch>, file: &File) -> Result<Capture, Error> {
    let bytes = flag.or(file.capture.bytes).unwrap_or(DEFAULT_CAPTURE_BYTES);
    let range = MIN_CAPTURE_BYTES..=crate::capture::MAX_CAPTURE_BYTES;
    if !range.contains(&bytes) {
        return Err(value("capture bytes", &bytes.to_string(), "between 256 and 16384"));
    }
    let dns_ports = match &file.capture.dns_ports {
        None => DatagramPorts::default(),
        Some(ports) => DatagramPorts::of(ports)
            .ok_or_else(|| value("capture dns_ports", &format!("{ports:?}"), "one to four ports"))?,
    };
    let tls = tls.map(|switch| switch == Switch::On).or(file.capture.tls).unwrap_or(true);
    let jsse = tls && file.capture.jsse.unwrap_or(true);
    Ok(Capture { bytes, dns_ports, tls, jsse })
}

fn engine(evidence: Option<ContentEvidence>, file: &File) -> Result<remora_engine::Settings, Error> {
    let lower = |names: &[String]| names.iter().map(|name| name.to_lowercase()).collect::<Vec<_>>();
    let mut parsers = ParserSettings::default();
    parsers.redact_statements = file.redaction.statements.unwrap_or(parsers.redact_statements);
    Arc::make_mut(&mut parsers.redacted_query_parameters).extend(lower(&file.redaction.query_parameters));
    Arc::make_mut(&mut parsers.redacted_headers).extend(lower(&file.redaction.headers));
    parsers.captured_request_headers = lower(&file.headers.request).into();
    parsers.captured_response_headers = lower(&file.headers.response).into();
    parsers.recorded_baggage = file.headers.baggage.clone().into();
    Ok(remora_engine::Settings {
        parsers,
        id_seed: id_seed(),
        content_evidence: content_evidence(evidence, file)?.into(),
        ..remora_engine::Settings::default()
    })
}

fn content_evidence(flag: Option<ContentEvidence>, file: &File) -> Result<ContentEvidence, Error> {
    match (flag, &file.evidence.content) {
        (Some(evidence), _) => Ok(evidence),
        (None, Some(text)) => ContentEvidence::from_str(text, false)
            .map_err(|_| value("evidence.content", text, "off, links or parents")),
        (None, None) => Ok(ContentEvidence::default()),
    }
}

/// Ids that are not derived from the wire must differ between agents and between runs.
fn id_seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}

fn print(flag: Option<Print>, file: &File) -> Result<Option<Format>, Error> {
    let print = match (flag, &file.print) {
        (Some(print), _) => print,
        (None, Some(text)) => {
            Print::from_str(text, false).map_err(|_| value("print", text, "none, text or json"))?
        }
        (None, None) => Print::None,
    };
    Ok(match print {
        Print::None => None,
        Print::Text => Some(Format::Text),
        Print::Json => Some(Format::Json),
    })
}

fn propagation(arguments: &RunArguments, file: &File) -> Result<Propagation, Error> {
    let what = match (arguments.propagate, &file.propagate.what) {
        (Some(what), _) => what,
        (None, Some(text)) => Propagate::from_str(text, false)
            .map_err(|_| value("propagate.what", text, "auto, off, headers or tcp"))?,
        (None, None) => Propagate::default(),
    };
    let cgroups =
        if arguments.propagate_in.is_empty() { &file.propagate.cgroups } else { &arguments.propagate_in };
    Ok(Propagation { what, cgroups: cgroups.clone() })
}

fn attach(arguments: &RunArguments, file: &File) -> Result<Platforms, Error> {
    match (&arguments.attach, &file.attach) {
        (Some(platforms), _) => Ok(platforms.clone()),
        (None, Some(text)) => Ok(text.parse()?),
        (None, None) => Ok(Platforms::default()),
    }
}

fn kubernetes(
    arguments: &RunArguments,
    environment: &Environment<'_>,
    file: &File,
) -> Result<Option<kubernetes::Settings>, Error> {
    let written = &file.kubernetes;
    let follow = match (arguments.kubernetes, &written.follow) {
        (Some(follow), _) => follow,
        (None, Some(text)) => Kubernetes::from_str(text, false)
            .map_err(|_| value("kubernetes.follow", text, "auto, on or off"))?,
        (None, None) => Kubernetes::default(),
    };
    let kubeconfig = arguments.kubeconfig.clone().or_else(|| written.kubeconfig.clone());
    let is_on = match follow {
        Kubernetes::Auto => kubeconfig.is_some() || kubernetes::has_service_account(),
        Kubernetes::On => true,
        Kubernetes::Off => false,
    };
    let node = arguments.node.clone().or_else(|| environment.get("NODE_NAME"));
    let node = node.or_else(|| written.node.clone());
    let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok(is_on.then(|| kubernetes::Settings {
        kubeconfig,
        node: node.unwrap_or_else(host),
        cluster_name: arguments.cluster_name.clone().or_else(|| written.cluster_name.clone()),
        labels: written.labels.clone(),
        annotations: written.annotations.clone(),
        well_known_labels: written.well_known_labels.unwrap_or(true),
    }))
}

fn metrics(flag: Option<&str>, file: &File) -> Result<Option<Metrics>, Error> {
    let Some(address) = metrics_address(flag, file, "metrics listen")? else { return Ok(None) };
    let token = file.metrics.token_file.as_deref().map(read_token).transpose()?;
    if !address.ip().is_loopback() && token.is_none() {
        return Err(Error::OpenMetrics { address });
    }
    Ok(Some(Metrics { address, token }))
}

fn metrics_address(flag: Option<&str>, file: &File, name: &str) -> Result<Option<SocketAddr>, Error> {
    match flag.or(file.metrics.listen.as_deref()) {
        Some("off") => Ok(None),
        Some(text) => {
            let address = text.parse();
            address.map(Some).map_err(|_| value(name, text, "an address such as 127.0.0.1:7655, or off"))
        }
        None => Ok(Some(DEFAULT_METRICS)),
    }
}

fn read_token(path: &Path) -> Result<String, Error> {
    let text =
        std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let token = text.trim();
    if token.is_empty() {
        return Err(value("metrics.token_file", &path.display().to_string(), "a file with a token in it"));
    }
    Ok(token.to_owned())
}

fn export_settings(
    arguments: &RunArguments,
    environment: &Environment<'_>,
    file: &File,
) -> Result<export::Settings, Error> {
    let from_environment = environment.otlp("PROTOCOL").map(|(_, protocol)| protocol);
    let protocol = from_environment.or_else(|| file.otlp.protocol.clone());
    let protocol = protocol.map(|text| text.parse::<Protocol>()).transpose()?;
    let mut settings = export::Settings::new(endpoint(arguments, environment, file, protocol)?);
    if let Some((name, text)) = environment.otlp("HEADERS") {
        let pairs = environment::headers(&text);
        // The value may hold a secret: it is not repeated.
        settings.headers = pairs.ok_or_else(|| value(&name, "…", "key=value pairs separated by commas"))?;
    } else if let Some(headers) = &file.otlp.headers {
        settings.headers = headers.clone().into_iter().collect();
    }
    if let Some((name, text)) = environment.otlp("TIMEOUT") {
        let milliseconds =
            text.trim().parse().map_err(|_| value(&name, &text, "a number of milliseconds"))?;
        settings.timeout = Duration::from_millis(milliseconds);
    } else if let Some(timeout) = file.otlp.timeout {
        settings.timeout = timeout.0;
    }
    let compression = environment.otlp("COMPRESSION");
    let written = file.otlp.compression.clone().map(|text| ("otlp.compression".to_owned(), text));
    if let Some((name, text)) = compression.or(written) {
        settings.compression = match text.as_str() {
            "none" => Compression::None,
            "gzip" => Compression::Gzip,
            _ => return Err(value(&name, &text, "none or gzip")),
        };
    }
    let certificate = environment.otlp("CERTIFICATE").map(|(_, path)| PathBuf::from(path));
    settings.certificate = certificate.or_else(|| file.otlp.certificate.clone());
    if let Some(queue) = file.otlp.queue {
        settings.queue_bytes = usize::try_from(queue.0).unwrap_or(usize::MAX);
    }
    settings.spool = spool(arguments, &file.spool);
    Ok(settings)
}

fn endpoint(
    arguments: &RunArguments,
    environment: &Environment<'_>,
    file: &File,
    protocol: Option<Protocol>,
) -> Result<Endpoint, Error> {
    if let Some(url) = &arguments.otlp {
        return Ok(Endpoint::parse(url, protocol)?);
    }
    if let Some(url) = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
        return Ok(Endpoint::verbatim(&url, protocol)?);
    }
    let url = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT").or_else(|| file.otlp.endpoint.clone());
    Ok(Endpoint::parse(url.as_deref().unwrap_or(DEFAULT_ENDPOINT), protocol)?)
}

fn spool(arguments: &RunArguments, file: &file::Spool) -> Option<SpoolSettings> {
    let asked_for = arguments.spool.clone().or_else(|| file.folder.clone());
    let size = arguments.spool_size.or(file.size).map_or(DEFAULT_SPOOL_BYTES, |size| size.0);
    let is_required = asked_for.is_some();
    let folder = asked_for.unwrap_or_else(|| PathBuf::from(DEFAULT_SPOOL));
    (size > 0).then_some(SpoolSettings { folder, max_bytes: size, is_required })
}
