//! Certificates of an authority of one's own, for servers on this host.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::scratch::Scratch;
use crate::{locate, tools};

const ELLIPTIC: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
const RSA: [&str; 2] = ["-newkey", "rsa:2048"];

/// An authority, and a certificate that it has given to `localhost` and `127.0.0.1`.
#[derive(Debug)]
pub struct Certificates {
    scratch: Scratch,
}

impl Certificates {
    /// Makes them.
    pub fn make() -> Result<Self> {
        let scratch = Scratch::new("certificates")?;
        scratch.write("names", "subjectAltName=DNS:localhost,IP:127.0.0.1")?;
        let made = Self { scratch };
        made.openssl(|command| {
            command.args(["req", "-x509", "-days", "2", "-subj", "/CN=authority", "-nodes"]).args(ELLIPTIC);
            command.arg("-keyout").arg(made.path("ca.key")).arg("-out").arg(made.authority());
        })?;
        made.issue("server", &ELLIPTIC)?;
        made.issue("rsa", &RSA)?;
        Ok(made)
    }

    /// Has the authority give a certificate for a new key of this kind.
    fn issue(&self, name: &str, kind: &[&str]) -> Result<()> {
        let request = self.path("request.pem");
        self.openssl(|command| {
            command.args(["req", "-subj", "/CN=localhost", "-nodes"]).args(kind).arg("-keyout");
            command.arg(self.path(&format!("{name}.key"))).arg("-out").arg(&request);
        })?;
        self.openssl(|command| {
            command.args(["x509", "-req", "-days", "2", "-CAcreateserial", "-in"]).arg(&request);
            command.arg("-CA").arg(self.authority()).arg("-CAkey").arg(self.path("ca.key"));
            command
                .arg("-extfile")
                .arg(self.path("names"))
                .arg("-out")
                .arg(self.path(&format!("{name}.pem")));
        })
    }

    fn openssl(&self, arguments: impl FnOnce(&mut Command)) -> Result<()> {
        let mut command = Command::new(locate::program("openssl")?);
        arguments(&mut command);
        tools::printed(&mut command).map(drop)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Returns the certificate of the authority.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Returns the server's certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.path("server.pem")
    }

    /// Puts copies of the server's certificate and its key into `folder`, which nobody but `owner` can read.
    pub fn give_to(&self, folder: &Path, owner: Option<(u32, u32)>) -> Result<(PathBuf, PathBuf)> {
        self.give("server", folder, owner)
    }

    /// Puts a certificate for an RSA key there likewise, for servers that know no other.
    pub fn give_rsa_to(&self, folder: &Path, owner: Option<(u32, u32)>) -> Result<(PathBuf, PathBuf)> {
        self.give("rsa", folder, owner)
    }

    /// Writes the server's certificate and its key into one file, as HAProxy has them.
    pub fn together(&self, scratch: &Scratch) -> Result<PathBuf> {
        let [certificate, key] = [self.certificate(), self.key()].map(fs::read_to_string);
        scratch.write("pair.pem", certificate? + &key?)
    }

    fn give(&self, name: &str, folder: &Path, owner: Option<(u32, u32)>) -> Result<(PathBuf, PathBuf)> {
        let give = |from: PathBuf, name: &str| -> Result<PathBuf> {
            let to = folder.join(name);
            fs::copy(from, &to)?;
            fs::set_permissions(&to, Permissions::from_mode(0o600))?;
            if let Some((uid, gid)) = owner {
                chown(&to, Some(uid), Some(gid))?;
            }
            Ok(to)
        };
        let certificate = give(self.path(&format!("{name}.pem")), "server.crt")?;
        Ok((certificate, give(self.path(&format!("{name}.key")), "server.key")?))
    }

    /// Returns the key of the server's certificate.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.path("server.key")
    }
}
