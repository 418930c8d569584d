//! Records of the ring become observations.

mod peers;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Bytes, BytesMut};
use remora_abi::{
    BeginningEvent, CLAIM_POSITION, CLAIM_STREAM, CiphertextEvent, ClaimEvent, ClosedEvent, DATA_CONTEXT,
    DATA_COUNTED, DATA_EOF, DATA_GOROUTINE, DATA_TOKEN, DIRECTION_EGRESS, DataEvent, EventHeader, ExecEvent,
    FAMILIES_COUNTED, FAMILY_DATAGRAM, FAMILY_INET, FAMILY_UNIX, ForkEvent, GiftEvent, KIND_ASK,
    KIND_BEGINNING, KIND_CIPHERTEXT, KIND_CLAIM, KIND_CLOSED, KIND_DATA, KIND_EXEC, KIND_EXIT, KIND_FORK,
    KIND_GIFT, KIND_MAPPED, KIND_OPENED, KIND_PEER, KIND_PIPE, KIND_PLAINTEXT, KIND_SHARE, KIND_SPAWN,
    KIND_STREAM_SERVED, KIND_STREAM_WRITTEN, KIND_TASK, KIND_TASK_END, KIND_THREAD, KIND_THREAD_END,
    KIND_TLS_END, KIND_WAKE, OPENED_POSITIONS, OpenedEvent, PeerEvent, PipeEvent, PlaintextEvent,
    ROLE_ACCEPTED, ROLE_CONNECTED, TLS_ONE_WAY, TaskEndEvent, TaskEvent, ThreadEvent, TlsEndEvent,
};
use remora_engine::event::{
    Ciphertext, Claim, Claimed, Closed, ConnectionId, Data, Direction, Endpoint, Event, EventKind, Executor,
    FirstPositions, Insertion, Opened, PipeRead, Plaintext, Role, Task, TlsId,
};

use super::observation::{Handover, Observation, StreamEvent};
use peers::Peers;

const _: () = assert!(size_of::<u16>() == remora_abi::DATAGRAM_FRAMING as usize);

/// Captured bytes are cut from blocks of this size: one allocation for many records.
const BLOCK_BYTES: usize = 64 << 10;

/// A record that is shorter than its kind, or of no known kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Undecodable;

/// Turns records into observations.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    block: BytesMut,
    peers: Peers,
}

impl Decoder {
    /// Decodes one record; none where it says something of the next one.
    pub(super) fn decode(&mut self, record: &[u8]) -> Result<Option<Observation>, Undecodable> {
        let header: EventHeader = read(record)?;
        if header.kind == KIND_PEER {
            self.peers.note(&read(record)?);
            return Ok(None);
        }
        self.observation(&header, record).map(Some)
    }

    fn observation(&mut self, header: &EventHeader, record: &[u8]) -> Result<Observation, Undecodable> {
        match header.kind {
            KIND_DATA => self.data(record),
            KIND_OPENED => opened(&read(record)?),
            KIND_CLOSED => Ok(closed(&read(record)?)),
            KIND_EXEC => exec(&read(record)?),
            KIND_FORK => {
                let fork: ForkEvent = read(record)?;
                Ok(Observation::Fork { parent: fork.header.tgid, child: fork.child_tgid })
            }
            KIND_TASK => Ok(task(&read(record)?)),
            KIND_TASK_END => Ok(task_end(&read(record)?)),
            KIND_THREAD => Ok(thread(&read(record)?)),
            KIND_THREAD_END => {
                Ok(Observation::ThreadEnd { tgid: header.tgid, tid: header.tid, at_ns: header.time_ns })
            }
            KIND_CLAIM => Ok(claim(&read(record)?)),
            KIND_GIFT => Ok(gift(&read(record)?, Handover::Gift)),
            KIND_SPAWN => Ok(gift(&read(record)?, Handover::Spawn)),
            KIND_WAKE => Ok(gift(&read(record)?, Handover::Wake)),
            KIND_STREAM_WRITTEN => Ok(stream(&read(record)?, StreamEvent::Written)),
            KIND_STREAM_SERVED => Ok(stream(&read(record)?, StreamEvent::Served)),
            KIND_SHARE => Ok(share(&read(record)?)),
            KIND_ASK => Ok(gift(&read(record)?, Handover::Ask)),
            KIND_PIPE => pipe(&read(record)?),
            KIND_PLAINTEXT => self.plaintext(record),
            KIND_CIPHERTEXT => ciphertext(&read(record)?),
            KIND_TLS_END => {
                let TlsEndEvent { header, object } = read(record)?;
                Ok(Observation::TlsEnd { tls: tls(&header, object), at_ns: header.time_ns })
            }
            KIND_MAPPED => Ok(Observation::Mapped { tgid: header.tgid, at_ns: header.time_ns }),
            KIND_BEGINNING => Ok(beginning(&read(record)?)),
            KIND_EXIT => Ok(Observation::Exit { tgid: header.tgid, at_ns: header.time_ns }),
            _ => Err(Undecodable),
        }
    }

    fn data(&mut self, record: &[u8]) -> Result<Observation, Undecodable> {
        let data: DataEvent = read(record)?;
        let executor = executor(&data.header, data.task, data.task_parent, data.turn);
        if data.header.flags & DATA_EOF != 0 {
            return Ok(socket(&data.header, EventKind::Eof(executor)));
        }
        let captured = usize::try_from(data.captured).map_err(|_| Undecodable)?;
        let end = size_of::<DataEvent>().checked_add(captured).ok_or(Undecodable)?;
        let bytes = record.get(size_of::<DataEvent>()..end).ok_or(Undecodable)?;
        let length = u16::try_from(data.length).unwrap_or(u16::MAX).to_be_bytes();
        let is_datagram = data.header.family & FAMILY_DATAGRAM != 0;
        let framing = if is_datagram { &length[..] } else { &[] };
        let kind = EventKind::Data(Data {
            direction: direction(data.header.direction),
            position: data.position,
            reverse_position: data.reverse_position,
            is_absolute: data.header.flags & DATA_COUNTED == 0,
            length: data.length.saturating_add(framing.len() as u32),
            bytes: self.keep(framing, bytes),
            peer: if is_datagram { self.peers.take(&data) } else { None },
            inserted: (data.inserted != 0)
                .then_some(Insertion { at: data.inserted_at.into(), length: data.inserted.into() }),
            executor,
        });
        Ok(socket(&data.header, kind))
    }

    fn plaintext(&mut self, record: &[u8]) -> Result<Observation, Undecodable> {
        let PlaintextEvent { data, object, moved_ns, ends_record, received, continues } = read(record)?;
        let header = data.header;
        let captured = usize::try_from(data.captured).map_err(|_| Undecodable)?;
        let end = size_of::<PlaintextEvent>().checked_add(captured).ok_or(Undecodable)?;
        let bytes = record.get(size_of::<PlaintextEvent>()..end).ok_or(Undecodable)?;
        let connection = ConnectionId { sock: header.sock, inode: header.inode };
        let plaintext = Plaintext {
            tls: tls(&header, object),
            connection: (header.sock != 0).then_some(connection),
            direction: direction(header.direction),
            position: data.position,
            reverse_position: data.reverse_position,
            length: data.length,
            bytes: self.keep(&[], bytes),
            ends_record: ends_record != 0,
            is_received: received != 0,
            continues: continues != 0,
            executor: executor(&header, data.task, data.task_parent, data.turn),
            shares: Vec::new(),
        };
        Ok(Observation::Plaintext { plaintext, at_ns: header.time_ns, moved_ns })
    }

    fn keep(&mut self, framing: &[u8], bytes: &[u8]) -> Bytes {
        let length = framing.len() + bytes.len();
        if self.block.capacity() < length {
            self.block = BytesMut::with_capacity(BLOCK_BYTES.max(length));
        }
        self.block.extend_from_slice(framing);
        self.block.extend_from_slice(bytes);
        self.block.split().freeze()
    }
}

fn socket(header: &EventHeader, kind: EventKind) -> Observation {
    let connection = ConnectionId { sock: header.sock, inode: header.inode };
    Observation::Socket { event: Event { connection, at_ns: header.time_ns, kind }, tgid: header.tgid }
}

fn executor(header: &EventHeader, id: u64, parent: u64, turn: u32) -> Executor {
    let task = match header.flags & (DATA_GOROUTINE | DATA_CONTEXT) {
        _ if id == 0 => None,
        DATA_GOROUTINE => Some(Task::Goroutine { id, parent }),
        DATA_CONTEXT => Some(Task::Context(id)),
        _ => None,
    };
    let token = (header.flags & DATA_TOKEN != 0).then_some(parent);
    Executor { tgid: header.tgid, tid: header.tid, task, token, turn }
}

fn task(event: &TaskEvent) -> Observation {
    let TaskEvent { header, task, maker, maker_parent, thread_pointer, turn, padding: _ } = *event;
    Observation::Task {
        executor: executor(&header, maker, maker_parent, turn),
        context: task,
        thread_pointer: (thread_pointer != 0).then_some(thread_pointer),
        at_ns: header.time_ns,
    }
}

fn task_end(event: &TaskEndEvent) -> Observation {
    let TaskEndEvent { header, task } = *event;
    Observation::TaskEnd { tgid: header.tgid, context: task, at_ns: header.time_ns }
}

fn thread(event: &ThreadEvent) -> Observation {
    let ThreadEvent { header, task, task_parent, turn, child_tid } = *event;
    let maker = executor(&header, task, task_parent, turn);
    Observation::Thread { maker, tid: child_tid, at_ns: header.time_ns }
}

fn claim(event: &ClaimEvent) -> Observation {
    let ClaimEvent { header, task, task_parent, turn, position } = *event;
    let what = match header.flags & (CLAIM_POSITION | CLAIM_STREAM) {
        CLAIM_POSITION => Claimed::From(position),
        CLAIM_STREAM => Claimed::Stream(position),
        _ => Claimed::Next,
    };
    let executor = executor(&header, task, task_parent, turn);
    socket(&header, EventKind::Claimed(Claim { executor, what }))
}

fn gift(event: &GiftEvent, handover: Handover) -> Observation {
    let GiftEvent { header, token, task, task_parent, turn, number: _ } = *event;
    let giver = executor(&header, task, task_parent, turn);
    Observation::Gift { handover, giver, token, at_ns: header.time_ns }
}

fn stream(event: &GiftEvent, what: StreamEvent) -> Observation {
    let GiftEvent { header, token, task, task_parent, turn, number } = *event;
    let executor = executor(&header, task, task_parent, turn);
    Observation::Stream { what, executor, token, number, at_ns: header.time_ns }
}

fn share(event: &GiftEvent) -> Observation {
    let GiftEvent { header, token, turn, number, .. } = *event;
    let token = Some(token).filter(|token| *token != 0);
    let executor = Executor { token, ..executor(&header, 0, 0, turn) };
    Observation::Share { executor, length: number, at_ns: header.time_ns }
}

fn pipe(event: &PipeEvent) -> Result<Observation, Undecodable> {
    let captured = usize::try_from(event.captured).map_err(|_| Undecodable)?;
    Ok(Observation::Pipe(PipeRead {
        executor: executor(&event.header, 0, 0, event.turn),
        pipe: event.header.sock,
        length: event.length,
        bytes: Bytes::copy_from_slice(event.bytes.get(..captured).ok_or(Undecodable)?),
        at_ns: event.header.time_ns,
    }))
}

fn tls(header: &EventHeader, object: u64) -> TlsId {
    let way = (header.flags & TLS_ONE_WAY != 0).then(|| direction(header.direction));
    TlsId { tgid: header.tgid, object, way }
}

fn ciphertext(event: &CiphertextEvent) -> Result<Observation, Undecodable> {
    let CiphertextEvent { header, object, length, captured, bytes } = event;
    let captured = usize::try_from(*captured).map_err(|_| Undecodable)?;
    let ciphertext = Ciphertext {
        tls: tls(header, *object),
        direction: direction(header.direction),
        length: *length,
        bytes: Bytes::copy_from_slice(bytes.get(..captured).ok_or(Undecodable)?),
    };
    Ok(Observation::Ciphertext { ciphertext, at_ns: header.time_ns })
}

fn beginning(event: &BeginningEvent) -> Observation {
    let BeginningEvent { header, own_egress, own_ingress, told_egress, told_ingress } = *event;
    Observation::Beginning {
        sock: header.sock,
        own: FirstPositions { egress: own_egress, ingress: own_ingress },
        told: FirstPositions { egress: told_egress, ingress: told_ingress },
        at_ns: header.time_ns,
    }
}

fn closed(event: &ClosedEvent) -> Observation {
    let ClosedEvent { header, bytes_received, sequence_sent, seen_ingress, turn, is_call, padding: _ } =
        *event;
    let executor = Executor { tgid: header.tgid, tid: header.tid, task: None, token: None, turn };
    let is_tcp = header.family & FAMILIES_COUNTED == 0;
    let closed = Closed {
        executor: (is_call != 0).then_some(executor),
        received: is_tcp.then_some(bytes_received),
        sequence_sent: is_tcp.then_some(sequence_sent),
        seen: seen_ingress,
    };
    socket(&header, EventKind::Closed(closed))
}

fn direction(direction: u8) -> Direction {
    if direction == DIRECTION_EGRESS { Direction::Egress } else { Direction::Ingress }
}

fn opened(event: &OpenedEvent) -> Result<Observation, Undecodable> {
    let is_datagram = event.header.family & FAMILY_DATAGRAM != 0;
    let role = match event.role {
        ROLE_CONNECTED => Role::Connected,
        ROLE_ACCEPTED => Role::Accepted,
        _ => Role::Unknown,
    };
    let (local, peer) = if event.header.family == FAMILY_UNIX {
        unix_endpoints(event, role)?
    } else {
        let is_ipv4 = event.header.family & !FAMILY_DATAGRAM == FAMILY_INET;
        (
            internet_endpoint(is_ipv4, event.local_address, event.local_port),
            internet_endpoint(is_ipv4, event.peer_address, event.peer_port),
        )
    };
    let peer_sock = (event.peer_sock != 0).then_some(event.peer_sock);
    let executor = Executor {
        tgid: event.header.tgid,
        tid: event.header.tid,
        task: None,
        token: (event.token != 0).then_some(event.token),
        turn: event.turn,
    };
    let first = (event.header.flags & OPENED_POSITIONS != 0)
        .then_some(FirstPositions { egress: event.first_egress, ingress: event.first_ingress });
    let opened = Opened { executor, local, peer, role, is_datagram, peer_sock, first };
    Ok(socket(&event.header, EventKind::Opened(opened)))
}

/// The name is that of the listening side.
fn unix_endpoints(event: &OpenedEvent, role: Role) -> Result<(Endpoint, Endpoint), Undecodable> {
    let name = event.path.get(..usize::from(event.path_length)).ok_or(Undecodable)?;
    let name = match name.split_first() {
        Some((0, rest)) => format!("@{}", String::from_utf8_lossy(until_nul(rest))),
        _ => String::from_utf8_lossy(until_nul(name)).into_owned(),
    };
    let (named, unnamed) = (Endpoint::Unix(name), Endpoint::Unix(String::new()));
    Ok(if role == Role::Accepted { (named, unnamed) } else { (unnamed, named) })
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn internet_endpoint(is_ipv4: bool, address: [u8; 16], port: u16) -> Endpoint {
    let [a, b, c, d, ..] = address;
    let address = if is_ipv4 {
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    } else {
        IpAddr::V6(Ipv6Addr::from(address)).to_canonical()
    };
    Endpoint::Ip(SocketAddr::new(address, port))
}

fn exec(event: &ExecEvent) -> Result<Observation, Undecodable> {
    let length = usize::try_from(event.arguments_length).map_err(|_| Undecodable)?;
    Ok(Observation::Exec {
        tgid: event.header.tgid,
        parent: event.parent,
        cgroup_id: event.cgroup_id,
        arguments: event.arguments.get(..length).ok_or(Undecodable)?.to_vec(),
        comm: String::from_utf8_lossy(until_nul(&event.comm)).into_owned(),
        at_ns: event.header.time_ns,
    })
}

/// A struct of the abi that any bytes make a valid value of.
///
/// # Safety
///
/// The type must be `repr(C)`, without padding, of integers and arrays of integers only.
unsafe trait Record: Copy {}

// SAFETY: integers only; the sizes asserted in the abi leave no room for padding.
unsafe impl Record for EventHeader {}
// SAFETY: as above.
unsafe impl Record for DataEvent {}
// SAFETY: as above.
unsafe impl Record for OpenedEvent {}
// SAFETY: as above.
unsafe impl Record for ExecEvent {}
// SAFETY: as above.
unsafe impl Record for ClosedEvent {}
// SAFETY: as above.
unsafe impl Record for ForkEvent {}
// SAFETY: as above.
unsafe impl Record for TaskEvent {}
// SAFETY: as above.
unsafe impl Record for GiftEvent {}
// SAFETY: as above.
unsafe impl Record for TaskEndEvent {}
// SAFETY: as above.
unsafe impl Record for ThreadEvent {}
// SAFETY: as above.
unsafe impl Record for ClaimEvent {}
// SAFETY: as above.
unsafe impl Record for BeginningEvent {}
// SAFETY: as above.
unsafe impl Record for PipeEvent {}
// SAFETY: as above.
unsafe impl Record for PlaintextEvent {}
// SAFETY: as above.
unsafe impl Record for CiphertextEvent {}
// SAFETY: as above.
unsafe impl Record for TlsEndEvent {}
// SAFETY: as above.
unsafe impl Record for PeerEvent {}

fn read<T: Record>(record: &[u8]) -> Result<T, Undecodable> {
    if record.len() < size_of::<T>() {
        return Err(Undecodable);
    }
    // SAFETY: the slice is long enough, `T` is valid for any bytes, and the read needs no alignment.
    Ok(unsafe { record.as_ptr().cast::<T>().read_unaligned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of<T: Record>(value: &T) -> &[u8] {
        // SAFETY: `T` has no padding, so that all its bytes are initialised.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
    }

    fn header(kind: u8) -> EventHeader {
        EventHeader {
            kind,
            flags: 0,
            direction: DIRECTION_EGRESS,
            family: FAMILY_INET,
            tgid: 7,
            tid: 8,
            inode: 9,
            sock: 10,
            time_ns: 11,
        }
    }

    #[test]
    fn data_record_gives_its_captured_bytes() {
        let event = DataEvent {
            header: header(KIND_DATA),
            position: 1,
            reverse_position: 2,
            length: 100,
            captured: 5,
            task: 0,
            task_parent: 0,
            turn: 3,
            inserted_at: 0,
            inserted: 0,
        };
        let mut record = bytes_of(&event).to_vec();
        record.extend_from_slice(b"helloGARBAGE");
        let Ok(Some(Observation::Socket { event, tgid: 7 })) = Decoder::default().decode(&record) else {
            panic!()
        };
        let EventKind::Data(data) = event.kind else { panic!() };
        assert_eq!((data.bytes.as_ref(), data.length), (b"hello".as_ref(), 100));
    }

    #[test]
    fn every_short_record_is_refused() {
        for kind in 0..=u8::MAX {
            let record = bytes_of(&header(kind)).to_vec();
            for length in 0..record.len() {
                assert_eq!(Decoder::default().decode(&record[..length]), Err(Undecodable));
            }
        }
    }

    #[test]
    fn captured_length_beyond_the_record_is_refused() {
        let event = DataEvent {
            header: header(KIND_DATA),
            position: 0,
            reverse_position: 0,
            length: u32::MAX,
            captured: u32::MAX,
            task: 0,
            task_parent: 0,
            turn: 0,
            inserted_at: 0,
            inserted: 0,
        };
        assert_eq!(Decoder::default().decode(bytes_of(&event)), Err(Undecodable));
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let mut address = [0; 16];
        address[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 1]);
        let endpoint = internet_endpoint(false, address, 80);
        assert_eq!(endpoint, Endpoint::Ip("10.0.0.1:80".parse().unwrap()));
    }

    #[test]
    fn beginnings_are_told_as_this_end_and_the_other_one_count() {
        let header = EventHeader { sock: 7, ..header(KIND_BEGINNING) };
        let event = BeginningEvent { header, own_egress: 1, own_ingress: 2, told_egress: 3, told_ingress: 4 };
        let expected = Observation::Beginning {
            sock: 7,
            own: FirstPositions { egress: 1, ingress: 2 },
            told: FirstPositions { egress: 3, ingress: 4 },
            at_ns: header.time_ns,
        };
        assert_eq!(Decoder::default().decode(bytes_of(&event)), Ok(Some(expected)));
        assert_eq!(Decoder::default().decode(&bytes_of(&event)[..40]), Err(Undecodable));
    }
}
