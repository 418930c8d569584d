//! Connections that carry TLS: their plaintext takes the place of their bytes.

use super::{Connection, Engine};
use crate::command::Command;
use crate::connection::{Stamp, Stream};
use crate::event::{
    Ciphertext, ConnectionId, Data, Direction, Endpoint, Executor, Opened, Plaintext, Role, TlsId,
};
use crate::mix::mix;
use crate::protocol::Request;
use crate::semconv::{self, Value};
use crate::session::{Outcome, Session};
use crate::tls::{Begins, Conversation, TlsCounts, TlsKind, Told, Waits, begins};

/// Why a connection of which only ciphertext is seen is ignored.
const UNSEEN: &str = "tls_unseen";
/// Hellos that are remembered for whom they may be passed on to.
const MAX_GREETINGS: usize = 4096;
/// Why one is ignored that carries what several objects of a library encrypt.
const MIXED: &str = "tls_mixed";

impl Connection {
    /// Turns to TLS if the bytes of a call are records, and nothing else was recognised before.
    pub(super) fn find_tls(&mut self, id: ConnectionId, data: &Data, at_ns: u64) {
        if self.tls.is_some() || self.opened.is_datagram || !self.session.is_undecided() {
            return;
        }
        let Some(begins) = begins(&data.bytes, data.length) else { return };
        // At the beginning of a connection is a handshake, or it is not TLS.
        if begins == Begins::Here || !self.session.is_at_start() {
            self.turn_to_tls(id, begins, at_ns);
        }
    }

    /// What follows is plaintext of a library, and the bytes are ciphertext. The session goes on if it has agreed to that.
    pub(super) fn turn_to_tls(&mut self, id: ConnectionId, begins: Begins, at_ns: u64) {
        let stream = || match begins {
            Begins::Here => Stream::starting_at(0),
            Begins::Earlier => Stream::default(),
        };
        let streams =
            [std::mem::replace(&mut self.egress, stream()), std::mem::replace(&mut self.ingress, stream())];
        let mut tls = Conversation::new(streams, begins, mix(id.sock) as u32, at_ns);
        match self.session.take_encrypted() {
            Some(rest) => tls.rest(rest),
            None => {
                let role = if begins == Begins::Here { Role::Accepted } else { Role::Unknown };
                self.session = Session::new(role);
            }
        }
        self.tls = Some(Box::new(tls));
    }
}

impl Engine {
    /// Takes in what a TLS library took for encryption, or gave after decryption. `at_ns` is the entry of a writing call and
    /// the return of a reading one. What no connection is known for waits for a moment.
    pub fn handle_plaintext(&mut self, plaintext: Plaintext, at_ns: u64) {
        if plaintext.length == 0 {
            return;
        }
        let Some(mut plaintext) = self.joins.put_together(plaintext) else { return };
        if plaintext.direction == Direction::Egress {
            plaintext.shares = self.shares.take(&plaintext.executor, plaintext.length);
        }
        let object = plaintext.tls;
        if let Some(id) = plaintext.connection {
            if self.may_join(id, at_ns) {
                self.join(object, id);
            } else {
                plaintext.connection = None;
            }
        }
        match self.joins.connection(object) {
            Some(id) => self.plaintext(id, plaintext, at_ns),
            None => self.joins.wait(Waits::Plaintext(plaintext), at_ns, at_ns),
        }
    }

    /// Takes in the first ciphertext bytes that a library moved through memory within a call. `at_ns` is that call's entry
    /// where they are written.
    pub fn handle_ciphertext(&mut self, ciphertext: Ciphertext, at_ns: u64) {
        if self.joins.connection(ciphertext.tls).is_none()
            && let Some(id) = self.joins.in_memory(&ciphertext)
        {
            self.join(ciphertext.tls, id);
        }
        match self.joins.connection(ciphertext.tls) {
            Some(id) => self.memory(id, &ciphertext, at_ns),
            None => self.joins.wait(Waits::Ciphertext(ciphertext), at_ns, at_ns),
        }
    }

    fn memory(&mut self, id: ConnectionId, ciphertext: &Ciphertext, at_ns: u64) {
        let found = self.connections.get_mut(&id).and_then(|connection| connection.tls.as_mut());
        if let Some(tls) = found {
            tls.memory(ciphertext, at_ns);
        }
    }

    /// Tells that the object of a connection was freed. Another may have its address at once.
    pub fn handle_tls_end(&mut self, tls: TlsId) {
        if let Some(id) = self.joins.forget(tls) {
            self.part(id, tls);
        }
    }

    /// Returns whether a connection may be that of an object that used its socket: one that is TLS, or nothing that is known.
    fn may_join(&mut self, id: ConnectionId, at_ns: u64) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        if connection.tls.is_some() {
            return true;
        }
        let is_unknown = connection.session.is_undecided() || connection.session.is_ignored();
        if connection.opened.is_datagram || !is_unknown {
            return false;
        }
        let was_ignored = connection.session.is_ignored();
        connection.turn_to_tls(id, Begins::Earlier, at_ns);
        if was_ignored {
            self.follow_again(id);
        }
        true
    }

    /// Processes have plaintext of objects whose connections are not known: they may be among those that were given up.
    pub(super) fn look_again(&mut self, now_ns: u64) {
        let mut given_up: Vec<ConnectionId> = Vec::new();
        let unjoined = std::mem::take(&mut self.unjoined);
        for (id, connection) in &mut self.connections {
            let is_given_up = unjoined.contains(&connection.user) && connection.session.is_ignored();
            if is_given_up && connection.tls.as_mut().is_some_and(|tls| tls.look_again(now_ns)) {
                connection.session = Session::new(Role::Unknown);
                given_up.push(*id);
            }
        }
        given_up.sort_unstable();
        given_up.into_iter().for_each(|id| self.follow_again(id));
    }

    /// The kernel was told to copy nothing more of a connection: it shall again.
    fn follow_again(&mut self, id: ConnectionId) {
        self.commands.push_back(Command::Forget(id));
        self.commands.push_back(Command::Reannounce(id));
    }

    fn join(&mut self, object: TlsId, id: ConnectionId) {
        if self.joins.connection(object) == Some(id) {
            return;
        }
        let (waiting, before) = self.joins.join(object, id);
        if let Some(before) = before {
            self.part(before, object);
        }
        let found = self.connections.get_mut(&id).and_then(|connection| connection.tls.as_mut());
        if let Some(tls) = found {
            let before: Vec<TlsId> = tls.objects().collect();
            tls.join(object);
            let is_known = |known: &TlsId| tls.objects().any(|object| object == *known);
            for replaced in before.into_iter().filter(|known| !is_known(known)) {
                self.joins.part(replaced, id);
            }
            if tls.is_mixed() {
                self.ignore(id, MIXED);
            }
        }
        for waiting in waiting {
            match waiting.what {
                Waits::Plaintext(plaintext) => self.plaintext(id, plaintext, waiting.at_ns),
                Waits::Ciphertext(ciphertext) => self.memory(id, &ciphertext, waiting.at_ns),
            }
        }
    }

    /// An object of a connection is gone.
    pub(super) fn part(&mut self, id: ConnectionId, object: TlsId) {
        if let Some(tls) = self.connections.get_mut(&id).and_then(|connection| connection.tls.as_mut()) {
            tls.part(object);
        }
        self.tell_written(id, 0);
    }

    fn plaintext(&mut self, id: ConnectionId, plaintext: Plaintext, at_ns: u64) {
        let connection = self.connections.get_mut(&id).filter(|connection| connection.tls.is_some());
        let Some(connection) = connection else {
            // The connection was given up, or its descriptor serves another. The object may get a new one.
            self.joins.part(plaintext.tls, id);
            return self.joins.wait(Waits::Plaintext(plaintext), at_ns, at_ns);
        };
        let Some(tls) = &mut connection.tls else { return };
        let is_revived = connection.session.is_ignored() && !tls.is_visible() && !tls.is_mixed();
        if is_revived {
            connection.session = Session::new(Role::Unknown);
        }
        if connection.session.is_ignored() {
            return;
        }
        let now_ns = connection.last_seen_ns.max(at_ns);
        connection.last_seen_ns = now_ns;
        self.unseen.see(plaintext.tls.tgid);
        let stamp = Stamp { at_ns, executor: plaintext.executor };
        let is_written = plaintext.direction == Direction::Egress;
        tls.expect(&plaintext);
        self.tell_written(id, now_ns);
        let found = self.connections.get_mut(&id).and_then(|connection| connection.tls.as_mut());
        let told = found.and_then(|tls| tls.plaintext(plaintext, at_ns, now_ns));
        if is_revived {
            self.follow_again(id);
        }
        if let Some(told) = told {
            self.tell(id, told);
        }
        self.tell_written(id, now_ns);
        if is_written {
            self.foresee_written(id, stamp);
        }
        self.bound_memory(id, 0);
        self.note_waiting(id);
    }

    /// A call whose place is not known yet may be told when its thread works on something else.
    fn foresee_written(&mut self, id: ConnectionId, stamp: Stamp) {
        let Some(connection) = self.connections.get(&id) else { return };
        let is_waiting = connection.tls.as_ref().is_some_and(|tls| tls.is_writing());
        let is_call = connection.session.client() != Some(Direction::Ingress);
        if is_waiting && is_call {
            self.correlation.note_written(id, &connection.opened.peer, &stamp.executor);
        }
        if is_waiting && is_call && connection.pairing.sending().is_none() {
            self.correlation.foresee(id, None, &stamp);
        }
    }

    /// Tells what was written and has found its records, or has waited for too long.
    pub(super) fn tell_written(&mut self, id: ConnectionId, now_ns: u64) {
        while let Some(connection) = self.connections.get_mut(&id)
            && let Some(told) = connection.tls.as_mut().and_then(|tls| tls.poll(now_ns))
        {
            self.tell(id, told);
        }
    }

    fn tell(&mut self, id: ConnectionId, told: Told) {
        let Told { plaintext, at_ns, is_midway } = told;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if is_midway {
            connection.session.forget_start();
            // What came before is not waited for.
            (connection.egress, connection.ingress) = (Stream::default(), Stream::default());
        }
        let Plaintext { direction, position, reverse_position, length, bytes, executor, shares, .. } =
            plaintext;
        let data = Data {
            direction,
            position,
            reverse_position,
            is_absolute: false,
            length,
            bytes,
            inserted: None,
            executor,
            peer: None,
        };
        self.moved_for(id, data, &shares, at_ns);
    }

    /// Takes in bytes of a connection that carries TLS.
    pub(super) fn ciphertext(&mut self, id: ConnectionId, data: Data, at_ns: u64) {
        let executor = data.executor;
        self.correlation.see(&Stamp { at_ns, executor });
        match data.direction {
            Direction::Egress => self.correlation.act(&executor),
            Direction::Ingress => self.records(id, &executor),
        }
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.user = executor.tgid;
        let moved = data.bytes.len();
        let Some(tls) = &mut connection.tls else { return };
        let beginnings = tls.ciphertext(data, at_ns);
        let is_unseen = tls.is_unseen(at_ns);
        if let Some((greeting, direction)) = tls.take_greeting() {
            self.greet((executor.tgid, greeting), id, direction);
        }
        let Some(tls) = self.connections.get_mut(&id).and_then(|connection| connection.tls.as_mut()) else {
            return;
        };
        self.early_refused += tls.take_refused();
        for (direction, beginning) in beginnings {
            if let Some(object) = self.joins.on_wire(executor.tgid, id, direction, beginning) {
                self.join(object, id);
                break;
            }
        }
        self.tell_written(id, at_ns);
        if is_unseen {
            self.ignore(id, UNSEEN);
        }
        self.bound_memory(id, moved);
        self.note_waiting(id);
    }

    /// A thread reads records. Several requests of them may be read before the first is worked on.
    pub(super) fn records(&mut self, id: ConnectionId, executor: &Executor) {
        let Some(connection) = self.connections.get(&id) else { return };
        if connection.pairing.is_numbered() && self.correlation.reads_on(id, executor) {
            return;
        }
        self.touch(id, Direction::Ingress, executor);
        self.correlation.note_records(id, executor);
    }

    /// A process that sends the very hello that it was sent passes it on, and what follows.
    fn greet(&mut self, key: (u32, u64), id: ConnectionId, direction: Direction) {
        match self.greetings.remove(&key) {
            Some((other, way)) if way != direction => {
                if self.are_ends(id, other) {
                    return;
                }
                for relayed in [id, other] {
                    let found = self.connections.get_mut(&relayed);
                    if let Some(tls) = found.and_then(|connection| connection.tls.as_mut()) {
                        tls.relay();
                    }
                }
            }
            _ => {
                self.make_room_for_greeting();
                self.greetings.insert(key, (id, direction));
            }
        }
    }

    /// Forgets hellos when they are too many: those that were answered have been passed on by now, or will not be.
    fn make_room_for_greeting(&mut self) {
        if self.greetings.len() < MAX_GREETINGS {
            return;
        }
        let connections = &self.connections;
        self.greetings.retain(|_, (id, _)| {
            let tls = connections.get(id).and_then(|connection| connection.tls.as_ref());
            tls.is_some_and(|tls| !tls.has_application_data())
        });
        // To look again for each one more would cost too much.
        if self.greetings.len() > MAX_GREETINGS / 2 {
            self.greetings_dropped += self.greetings.len() as u64;
            self.greetings.clear();
        }
    }

    /// Returns whether two connections of a process may be the ends of one, by which it talks to itself.
    fn are_ends(&self, left: ConnectionId, right: ConnectionId) -> bool {
        let ends = [left, right].map(|id| self.connections.get(&id).map(|connection| &connection.opened));
        let [Some(left), Some(right)] = ends else { return true };
        left.local == right.peer && left.peer == right.local
    }

    fn ignore(&mut self, id: ConnectionId, reason: &'static str) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let mut outcomes: Vec<Outcome> = Vec::new();
        connection.session.ignore(reason, &mut outcomes);
        self.take_outcomes(id, &mut outcomes);
    }

    /// Returns whether a connection carries TLS.
    pub(super) fn is_encrypted(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| connection.tls.is_some())
    }

    /// Hands over what waits for ciphertext that will not come.
    pub(super) fn flush_tls(&mut self, id: ConnectionId) {
        let Some(tls) = self.connections.get_mut(&id).and_then(|connection| connection.tls.as_mut()) else {
            return;
        };
        tls.flush();
        self.tell_written(id, u64::MAX);
    }

    /// Returns the connections that carried TLS of which no plaintext was seen, and that have ended since this was last
    /// called: by process, server, version, protocols and reason, and sorted. They are counted no more.
    pub fn take_ended_unseen_tls(&mut self) -> Vec<(TlsKind, TlsCounts)> {
        self.unseen.take_ended()
    }

    /// Returns the connections that carry TLS of which no plaintext was seen, those that have ended too, unless they were
    /// taken: by process, server, version, protocols and reason, and sorted.
    #[must_use]
    pub fn unseen_tls(&self) -> Vec<(TlsKind, TlsCounts)> {
        let is_unseen = |tls: &Conversation| !tls.is_visible();
        let living =
            self.connections.values().filter(|connection| connection.tls.as_deref().is_some_and(is_unseen));
        self.unseen.with(living.filter_map(|connection| self.kind_of_tls(connection)))
    }

    /// Returns the connections of a process that carry TLS, whether plaintext of them was seen or not, those that have ended
    /// too: by server, version, protocols and reason, and sorted. It looks at every connection that lives.
    #[must_use]
    pub fn tls_of(&self, tgid: u32) -> Vec<(TlsKind, TlsCounts)> {
        let living = self.connections.values().filter(|connection| connection.user == tgid);
        self.unseen.of_process(tgid, living.filter_map(|connection| self.kind_of_tls(connection)))
    }

    fn kind_of_tls(&self, connection: &Connection) -> Option<(TlsKind, TlsCounts)> {
        let Connection { opened, user, tls, .. } = connection;
        tls.as_ref()?.kind(*user, || server(opened), self.unseen.reason(*user))
    }

    /// Counts a connection that ends if it carried TLS.
    pub(super) fn end_tls(&mut self, connection: &Connection) {
        if let Some((kind, counts)) = self.kind_of_tls(connection) {
            self.unseen.end(kind, counts);
        }
    }

    /// Returns how many connections carry TLS of which plaintext is seen, and of which none is.
    pub(super) fn tls_connections(&self) -> (u64, u64) {
        let tls = self.connections.values().filter_map(|connection| connection.tls.as_ref());
        tls.fold((0, 0), |(visible, unseen), tls| match tls.is_visible() {
            true => (visible + 1, unseen),
            false => (visible, unseen + 1),
        })
    }
}

/// Returns the address of a connection's server. Where it is not known which end that is, the peer may be the client, whose
/// ports are many.
fn server(opened: &Opened) -> String {
    let address = if opened.role == Role::Accepted { &opened.local } else { &opened.peer };
    match address {
        Endpoint::Ip(address) if opened.role == Role::Unknown => address.ip().to_string(),
        Endpoint::Ip(address) => address.to_string(),
        Endpoint::Unix(path) => path.clone(),
    }
}

/// Adds to a request of this protocol what is known of the encryption around it.
pub(super) fn describe(request: &mut Request, tls: &Conversation, protocol: &str) {
    for (key, value) in &mut request.attributes {
        if *key == semconv::URL_SCHEME && *value == Value::from("http") {
            *value = Value::from("https");
        }
    }
    request.attributes.extend(tls.attributes(protocol));
}
