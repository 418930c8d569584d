//! Certificates of an authority of one's own, for servers on this host.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::scratch::Scratch;
use crate::{locate, tools};

/// An authority, and a certificate that it has given to `localhost` and `127.0.0.1`.
#[derive(Debug)]
pub struct Certificates {
    scratch: Scratch,
}

impl Certificates {
    /// Makes them.
    pub fn make() -> Result<Self> {
        let scratch = Scratch::new("certificates")?;
        let names = scratch.write("names", "subjectAltName=DNS:localhost,IP:127.0.0.1")?;
        let made = Self { scratch };
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout"];
        let (ca, ca_key, key_of_leaf) = (made.authority(), made.path("ca.key"), made.key());
        made.openssl(|command| {
            command.args(["req", "-x509", "-days", "2", "-subj", "/CN=authority"]).args(key).arg(&ca_key);
            command.arg("-out").arg(&ca);
        })?;
        let request = made.path("request.pem");
        made.openssl(|command| {
            command.args(["req", "-subj", "/CN=localhost"]).args(key).arg(&key_of_leaf);
            command.arg("-out").arg(&request);
        })?;
        made.openssl(|command| {
            command.args(["x509", "-req", "-days", "2", "-CAcreateserial", "-in"]).arg(&request);
            command.arg("-CA").arg(&ca).arg("-CAkey").arg(&ca_key).arg("-extfile").arg(&names);
            command.arg("-out").arg(made.certificate());
        })?;
        Ok(made)
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
        let give = |from: PathBuf, name: &str| -> Result<PathBuf> {
            let to = folder.join(name);
            fs::copy(from, &to)?;
            fs::set_permissions(&to, Permissions::from_mode(0o600))?;
            if let Some((uid, gid)) = owner {
                chown(&to, Some(uid), Some(gid))?;
            }
            Ok(to)
        };
        Ok((give(self.certificate(), "server.crt")?, give(self.key(), "server.key")?))
    }

    /// Returns the key of the server's certificate.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.path("server.key")
    }
}
