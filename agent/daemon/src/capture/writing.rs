//! The programs that write contexts into requests: which processes may, towards which servers, and the end of it.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, MapType, PerCpuArray, SockHash};
use aya::programs::sock_ops::SockOpsLinkId;
use aya::programs::{CgroupAttachMode, SkMsg, SockOps};
use remora_abi::{
    HEADERS_OFF, HEADERS_ON, MEMBERSHIP_BRIEF, MEMBERSHIP_LASTING, OPTION_OFF, OPTION_ON,
    PropagationSettings, ServerAddress, Write, Writer, names,
};

use super::load::{Error, at, failed, program, sum};

const FOLLOW_SOCKETS: &str = "follow_sockets";
const WRITE_HEADER: &str = "write_header";

/// How long a socket that may write is in the socket map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Membership {
    /// Until its first bytes leave.
    #[default]
    Brief,
    /// As long as it lives: for showing what that does.
    Lasting,
}

/// What may be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteSettings {
    /// A header into the first request of a connection.
    pub headers: bool,
    /// A TCP option into the first segment of a connection; those of others are read.
    pub option: bool,
    /// How long a socket that may write a header is in the socket map.
    pub membership: Membership,
    /// Whether a server need not be known to be asked by HTTP, nor its address be private.
    pub to_any_server: bool,
    /// One of so many connections is left alone and watched, for comparison; 0 for none.
    pub control: u8,
}

/// The maps of the programs that write.
pub struct Writing {
    settings: Array<MapData, PropagationSettings>,
    servers: HashMap<MapData, ServerAddress, u64>,
    writers: HashMap<MapData, u64, Writer>,
    sockets: SockHash<MapData, u64>,
    writes: PerCpuArray<MapData, u64>,
    links: Vec<SockOpsLinkId>,
}

impl Writing {
    pub(super) fn load(ebpf: &mut Ebpf) -> Result<Self, Error> {
        let mut map = |name| ebpf.take_map(name).ok_or(Error::Missing { name });
        let settings = Array::try_from(map(names::PROPAGATION)?).map_err(at(names::PROPAGATION))?;
        let servers = HashMap::try_from(map(names::SERVERS)?).map_err(at(names::SERVERS))?;
        let writers = HashMap::try_from(map(names::WRITERS)?).map_err(at(names::WRITERS))?;
        let sockets = SockHash::try_from(map(names::WRITER_SOCKETS)?).map_err(at(names::WRITER_SOCKETS))?;
        let writes = PerCpuArray::try_from(map(names::WRITES)?).map_err(at(names::WRITES))?;
        follow_sockets(ebpf)?.load().map_err(failed("load", FOLLOW_SOCKETS))?;
        let header = write_header(ebpf)?;
        header.load().map_err(failed("load", WRITE_HEADER))?;
        header.attach(sockets.fd()).map_err(failed("attach", WRITE_HEADER))?;
        Ok(Self { settings, servers, writers, sockets, writes, links: Vec::new() })
    }

    pub(super) fn attach(&mut self, ebpf: &mut Ebpf, cgroup: &Path) -> Result<(), Error> {
        let folder =
            File::open(cgroup).map_err(|source| Error::Cgroup { path: cgroup.to_owned(), source })?;
        // Programs of others stay: links of this kind always stand beside each other.
        let link = follow_sockets(ebpf)?
            .attach(folder, CgroupAttachMode::Single)
            .map_err(failed("attach", FOLLOW_SOCKETS))?;
        self.links.push(link);
        Ok(())
    }

    /// Sets what may be written.
    pub fn set(&mut self, settings: WriteSettings) -> Result<(), Error> {
        let settings = PropagationSettings {
            headers: if settings.headers { HEADERS_ON } else { HEADERS_OFF },
            option: if settings.option { OPTION_ON } else { OPTION_OFF },
            membership: match settings.membership {
                Membership::Brief => MEMBERSHIP_BRIEF,
                Membership::Lasting => MEMBERSHIP_LASTING,
            },
            any_server: u8::from(settings.to_any_server),
            control: settings.control,
            padding: [0; 3],
        };
        self.settings.set(0, &settings, 0).map_err(at(names::PROPAGATION))
    }

    /// Notes that a server is asked by HTTP.
    pub fn note_server(&mut self, server: SocketAddr, now_ns: u64) {
        // An address that is not stored is one that is not written to.
        let _ = self.servers.insert(&address(server), &now_ns, 0);
    }

    /// Ends it: no more sockets are enrolled, and those that are leave the socket map.
    pub(super) fn stop(&mut self, ebpf: &mut Ebpf) {
        let _ = self.set(WriteSettings::default());
        if let Ok(program) = follow_sockets(ebpf) {
            for link in self.links.drain(..) {
                let _ = program.detach(link);
            }
        }
        let sockets: Vec<u64> = self.writers.keys().filter_map(Result::ok).collect();
        for sock in sockets {
            let _ = self.sockets.remove(&sock);
        }
    }

    /// Returns every count so far, by its label.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Write::ALL.map(|write| (write.label(), sum(&self.writes, write as u32))).into_iter()
    }
}

fn follow_sockets(ebpf: &mut Ebpf) -> Result<&mut SockOps, Error> {
    program(ebpf, FOLLOW_SOCKETS)?.try_into().map_err(failed("find", FOLLOW_SOCKETS))
}

fn write_header(ebpf: &mut Ebpf) -> Result<&mut SkMsg, Error> {
    program(ebpf, WRITE_HEADER)?.try_into().map_err(failed("find", WRITE_HEADER))
}

fn address(server: SocketAddr) -> ServerAddress {
    let address = match server.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    ServerAddress { address: address.octets(), port: u32::from(server.port()) }
}

/// Returns the names of the socket maps that others have made: who has put a socket into one of them may not find it
/// in ours.
pub fn other_socket_maps() -> Vec<String> {
    aya::maps::loaded_maps()
        .filter_map(Result::ok)
        .filter(|map| matches!(map.map_type(), Ok(MapType::SockMap | MapType::SockHash)))
        .filter_map(|map| map.name_as_str().map(str::to_owned))
        .collect()
}
