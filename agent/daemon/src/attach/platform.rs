//! What parts exist for, and how each is asked for.

use std::fmt;
use std::str::FromStr;
use std::time::Instant;

use super::jvm::Jvm;
use super::node::Node;
use super::own::OwnConnections;
use super::refusal::Refusal;
use super::target::Target;

/// A runtime with a mechanism of its own for letting parts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// The JVM: HotSpot's way in for tools.
    Jvm,
    /// Node.js: the inspector.
    Node,
}

/// All platforms, in the order in which they are named in messages.
const PLATFORMS: &[Platform] = &[Platform::Jvm, Platform::Node];
/// The word for Node with its worker threads. They are asked for by a word of their own: one that ends within the same
/// milliseconds can end the process, by a fault of Node's inspector.
const NODE_WORKERS: &str = "node-workers";

impl Platform {
    /// Returns its name on the command line.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Platform::Jvm => "jvm",
            Platform::Node => "node",
        }
    }

    /// Returns the means to put its part into processes.
    pub(super) fn mechanism(self, own: &OwnConnections, platforms: &Platforms) -> Box<dyn Mechanism> {
        match self {
            Platform::Jvm => Box::new(Jvm { tells_jsse: platforms.tells_jsse }),
            Platform::Node => Box::new(Node::new(own.clone(), platforms.reaches_workers)),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// The platforms whose processes get a part: what `--attach` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platforms {
    platforms: Vec<Platform>,
    /// Whether parts inside JVMs tell what JSSE encrypts.
    tells_jsse: bool,
    /// Whether parts inside Node reach for its worker threads.
    reaches_workers: bool,
}

impl Platforms {
    /// Returns each platform once.
    pub fn iter(&self) -> impl Iterator<Item = Platform> + '_ {
        self.platforms.iter().copied()
    }

    /// Returns whether parts inside JVMs tell what their own TLS (JSSE) encrypts.
    #[must_use]
    pub fn tells_jsse(&self) -> bool {
        self.tells_jsse
    }

    /// Returns whether parts inside Node reach for its worker threads.
    #[must_use]
    pub fn reaches_workers(&self) -> bool {
        self.reaches_workers
    }

    /// Returns the same platforms, whose JVMs tell what their own TLS (JSSE) encrypts, or do not.
    #[must_use]
    pub fn telling_jsse(self, tells_jsse: bool) -> Self {
        Self { tells_jsse, ..self }
    }
}

/// The text names something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is neither 'off' nor a list of: {}", known())]
pub struct UnknownPlatform {
    name: String,
}

fn known() -> String {
    let labels = PLATFORMS.iter().map(|platform| platform.label());
    labels.chain([NODE_WORKERS]).collect::<Vec<_>>().join(", ")
}

impl FromStr for Platforms {
    type Err = UnknownPlatform;

    /// Reads `off`, or names with commas between them.
    fn from_str(text: &str) -> Result<Self, UnknownPlatform> {
        if text.trim() == "off" {
            return Ok(Self::default());
        }
        let mut read = Self::default();
        for name in text.split(',').map(str::trim) {
            let is_of_workers = name == NODE_WORKERS;
            let label = if is_of_workers { Platform::Node.label() } else { name };
            let found = PLATFORMS.iter().find(|platform| platform.label() == label);
            let platform = found.ok_or_else(|| UnknownPlatform { name: name.to_owned() })?;
            read.reaches_workers |= is_of_workers;
            if !read.platforms.contains(platform) {
                read.platforms.push(*platform);
            }
        }
        Ok(read)
    }
}

/// How the part of one platform gets into a process, and out of it.
pub(super) trait Mechanism: Send {
    /// Puts the part in, or finds that it is there. A process that may become ready is [`Refusal::Early`].
    fn attach(&mut self, target: &Target) -> Result<(), Refusal>;

    /// Takes the part out, not later than `until` if that is possible.
    fn detach(&mut self, target: &Target, until: Instant) -> Result<(), Refusal>;

    /// Puts in order what a process did only after nobody waited for it any more. Returns whether more may come.
    fn tidy(&mut self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_mistakes_named() {
        let read = |text: &str| text.parse::<Platforms>().map(|platforms| platforms.platforms);
        assert_eq!(read("off"), Ok(vec![]));
        assert_eq!(read("node"), Ok(vec![Platform::Node]));
        assert_eq!(read("node, node"), Ok(vec![Platform::Node]));
        assert_eq!(read("node,jvm"), Ok(vec![Platform::Node, Platform::Jvm]));
        assert_eq!(read("jvm,node-workers,node"), Ok(vec![Platform::Jvm, Platform::Node]));
        let reaches = |text: &str| text.parse::<Platforms>().unwrap().reaches_workers();
        assert!(reaches("jvm,node-workers") && !reaches("jvm,node"));
        let error = |text| read(text).unwrap_err().to_string();
        assert!(error("php").starts_with("\"php\" is neither 'off' nor a list of: "));
        assert!(error("").starts_with("\"\" is neither"));
        assert!(error("node,off").starts_with("\"off\" is neither"));
    }
}
