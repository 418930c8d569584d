//! The configuration, checked and complete.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::file::{self, File};
use super::flags::{InferMode, Serve};
use crate::infer::InferSettings;
use crate::join::JoinSettings;
use crate::receive::DEFAULT_MAX_REQUEST_BYTES;
use crate::store::{MAX_REQUEST_BYTES, StoreSettings};

/// Why the bridge does not start with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The configuration file is not understood.
    #[error("configuration file {}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What and where.
        message: String,
    },
    /// A value is not understood.
    #[error("{key} = {value:?}: expected {expected}")]
    Value {
        /// Name of the setting.
        key: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A request of that size could not be read back from the log.
    #[error("ingest.max_request_size = {bytes} bytes: at most {}MiB can be kept", MAX_REQUEST_BYTES >> 20)]
    RequestSize {
        /// What was given.
        bytes: usize,
    },
    /// The token file has no token.
    #[error("token file {} is empty: write at least {MIN_TOKEN_CHARACTERS} printable characters into it", path.display())]
    Token {
        /// The file.
        path: PathBuf,
    },
    /// An address can be reached by others and nothing protects it.
    #[error(
        "{key} = {address} can be reached from other hosts: give --token-file FILE, or listen on 127.0.0.1"
    )]
    Exposed {
        /// Name of the setting.
        key: &'static str,
        /// The address.
        address: SocketAddr,
    },
}

const MIN_TOKEN_CHARACTERS: usize = 16;

/// What the bridge runs with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Page and API.
    pub listen: SocketAddr,
    /// OTLP over gRPC.
    pub otlp_grpc: SocketAddr,
    /// OTLP over HTTP.
    pub otlp_http: SocketAddr,
    /// What every request must bear.
    pub token: Option<Arc<str>>,
    /// Largest request, as it comes and unpacked.
    pub max_request_bytes: usize,
    /// Joining of traces.
    pub join: JoinSettings,
    /// Inferred links.
    pub infer: InferSettings,
    /// The store.
    pub store: StoreSettings,
}

impl Settings {
    /// Returns the settings that flags and the file they name make.
    ///
    /// # Errors
    /// If a file cannot be read, a value is not understood, or an address is open to all.
    pub fn load(flags: Serve) -> Result<Self, ConfigError> {
        let file = match &flags.config {
            Some(path) => parse(path, &read(path)?)?,
            None => File::default(),
        };
        Self::merge(flags, file)
    }

    fn merge(flags: Serve, file: File) -> Result<Self, ConfigError> {
        let data_dir = flags.data.or(file.data).unwrap_or_else(|| PathBuf::from("remora-data"));
        let default = StoreSettings::at(&data_dir);
        let retention = flags.retention.or(file.retention);
        let retention_size = flags.retention_size.or(file.retention_size);
        let (ingest, joining) = (file.ingest, file.join);
        let store = StoreSettings {
            retention_age: time("retention", retention, default.retention_age)?,
            retention_bytes: size("retention_size", retention_size, default.retention_bytes)?,
            live_limit_bytes: memory("ingest.live_limit", ingest.live_limit, default.live_limit_bytes)?,
            seal_bytes: memory("ingest.seal_size", ingest.seal_size, default.seal_bytes)?,
            seal_age: time("ingest.seal_age", ingest.seal_age, default.seal_age)?,
            max_aliases: joining.max_aliases.unwrap_or(default.max_aliases),
            ..default
        };
        let waiting = JoinSettings::default();
        let join = JoinSettings {
            hold: time("join.hold", joining.hold, waiting.hold)?,
            max_waiting: joining.max_waiting.unwrap_or(waiting.max_waiting),
        };
        let token = flags.token_file.or(file.token_file).map(|path| token(&path)).transpose()?;
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let settings = Self {
            listen: flags.listen.or(file.listen).unwrap_or(local(7654)),
            otlp_grpc: flags.otlp_grpc.or(file.otlp_grpc).unwrap_or(local(4317)),
            otlp_http: flags.otlp_http.or(file.otlp_http).unwrap_or(local(4318)),
            max_request_bytes: memory(
                "ingest.max_request_size",
                ingest.max_request_size,
                DEFAULT_MAX_REQUEST_BYTES,
            )?,
            token,
            join,
            infer: infer(flags.infer, file.infer)?,
            store,
        };
        settings.refuse_exposed()?;
        if settings.max_request_bytes > MAX_REQUEST_BYTES {
            return Err(ConfigError::RequestSize { bytes: settings.max_request_bytes });
        }
        Ok(settings)
    }

    fn refuse_exposed(&self) -> Result<(), ConfigError> {
        let addresses =
            [("listen", self.listen), ("otlp_grpc", self.otlp_grpc), ("otlp_http", self.otlp_http)];
        let exposed = addresses.into_iter().find(|(_, address)| !address.ip().is_loopback());
        match exposed {
            Some((key, address)) if self.token.is_none() => Err(ConfigError::Exposed { key, address }),
            _ => Ok(()),
        }
    }
}

fn infer(flag: Option<InferMode>, file: file::Infer) -> Result<InferSettings, ConfigError> {
    let default = InferSettings::default();
    let min_confidence = file.min_confidence.unwrap_or(default.min_confidence);
    if !(0.0..=1.0).contains(&min_confidence) {
        return Err(ConfigError::Value {
            key: "infer.min_confidence",
            value: min_confidence.to_string(),
            expected: "a number from 0 to 1",
        });
    }
    let mode = flag.or(file.mode);
    Ok(InferSettings { is_on: mode.map_or(default.is_on, |mode| mode == InferMode::Links), min_confidence })
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

fn parse(path: &Path, text: &str) -> Result<File, ConfigError> {
    toml::from_str(text)
        .map_err(|error| ConfigError::Syntax { path: path.to_owned(), message: error.to_string() })
}

fn token(path: &Path) -> Result<Arc<str>, ConfigError> {
    let text = read(path)?;
    let token = text.trim();
    let is_usable = token.len() >= MIN_TOKEN_CHARACTERS && token.bytes().all(|byte| byte.is_ascii_graphic());
    if is_usable { Ok(token.into()) } else { Err(ConfigError::Token { path: path.to_owned() }) }
}

fn time(key: &'static str, text: Option<String>, default: Duration) -> Result<Duration, ConfigError> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
    let expected = "a whole number and s, m, h or d, such as 7d";
    quantity(key, text, &units, expected).map(|seconds| seconds.map_or(default, Duration::from_secs))
}

fn size(key: &'static str, text: Option<String>, default: u64) -> Result<u64, ConfigError> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
    let expected = "a whole number and KiB, MiB, GiB or TiB, such as 10GiB";
    quantity(key, text, &units, expected).map(|bytes| bytes.unwrap_or(default))
}

fn memory(key: &'static str, text: Option<String>, default: usize) -> Result<usize, ConfigError> {
    size(key, text, default as u64).map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
}

fn quantity(
    key: &'static str,
    text: Option<String>,
    units: &[(&str, u64)],
    expected: &'static str,
) -> Result<Option<u64>, ConfigError> {
    let Some(value) = text else { return Ok(None) };
    let parsed = units.iter().find_map(|(unit, factor)| {
        let number: u64 = value.strip_suffix(unit)?.trim_end().parse().ok()?;
        number.checked_mul(*factor)
    });
    parsed.filter(|number| *number > 0).map(Some).ok_or(ConfigError::Value { key, value, expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(flags: Serve, file: &str) -> Result<Settings, String> {
        let file = parse(Path::new("bridge.toml"), file).map_err(|error| error.to_string())?;
        Settings::merge(flags, file).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_go_before_the_file_and_the_file_before_defaults() {
        let flags = Serve { retention: Some("2h".to_owned()), ..Serve::default() };
        let settings =
            merged(flags, "retention = '3d'\nretention_size = '5MiB'\n[ingest]\nseal_age = '1s'").unwrap();
        assert_eq!(settings.store.retention_age, Duration::from_secs(7200));
        assert_eq!(
            (settings.store.retention_bytes, settings.store.seal_age),
            (5 << 20, Duration::from_secs(1))
        );
        assert_eq!(settings.listen.to_string(), "127.0.0.1:7654");
    }

    #[test]
    fn wrong_values_say_what_would_be_right() {
        let check = |file: &str, expected: &str| {
            let error = merged(Serve::default(), file).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check("retention = '7 weeks'", "retention = \"7 weeks\": expected a whole number and s, m, h or d");
        check("retention_size = '0GiB'", "expected a whole number and KiB");
        check("retentoin = '7d'", "unknown field `retentoin`");
        check("[infer]\nmode = 'parents'", "unknown variant `parents`");
        check(
            "[infer]\nmin_confidence = 1.5",
            "infer.min_confidence = \"1.5\": expected a number from 0 to 1",
        );
        check("store = 'clickhouse'", "unknown variant `clickhouse`");
        check(
            "listen = '0.0.0.0:7654'",
            "listen = 0.0.0.0:7654 can be reached from other hosts: give --token-file",
        );
    }

    #[test]
    fn a_request_that_could_not_be_read_back_is_not_allowed() {
        let load = |size: &str| {
            merged(Serve::default(), &format!("[ingest]\nmax_request_size = '{size}'"))
                .map(|settings| settings.max_request_bytes)
        };
        assert_eq!(load("256MiB"), Ok(MAX_REQUEST_BYTES));
        let error = load("257MiB").unwrap_err();
        assert_eq!(error, "ingest.max_request_size = 269484032 bytes: at most 256MiB can be kept");
        assert!(load("1TiB").unwrap_err().contains("at most 256MiB"));
    }

    #[test]
    fn a_token_opens_other_addresses() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let load = || {
            let flags = Serve { token_file: Some(path.clone()), ..Serve::default() };
            merged(flags, "otlp_grpc = '0.0.0.0:4317'")
        };
        assert!(load().unwrap_err().contains("read"));
        std::fs::write(&path, "short\n").unwrap();
        assert!(load().unwrap_err().contains("at least 16"));
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        assert_eq!(load().unwrap().token.as_deref(), Some("0123456789abcdef"));
    }
}
