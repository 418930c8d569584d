//! Another process's network, for a thread of its own.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::Error;

/// Returns what `act` returns in the network namespace of a process.
pub(super) fn within<T: Send>(tgid: u32, act: impl FnOnce() -> T + Send) -> Result<T, Error> {
    let theirs = format!("/proc/{tgid}/ns/net");
    let name = |path: &str| fs::read_link(path).map_err(Error::Namespace);
    if name(&theirs)? == name("/proc/self/ns/net")? {
        return Ok(act());
    }
    let namespace = File::open(theirs).map_err(Error::Namespace)?;
    // The thread ends with the visit: what it is a member of does not come back with it.
    let visit = || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(act())
    };
    let ended: thread::Result<io::Result<T>> = thread::scope(|scope| scope.spawn(visit).join());
    ended.unwrap_or_else(|_| Err(io::Error::other("the visiting thread ended"))).map_err(Error::Namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_namespace_is_no_journey() {
        assert_eq!(within(std::process::id(), || 7).unwrap(), 7);
        assert!(matches!(within(u32::MAX, || 7), Err(Error::Namespace(_))));
    }
}
