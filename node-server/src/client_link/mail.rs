//! Mail from other threads.

use super::connection::State;
use super::{DataThread, Hub};
use crate::mailbox::{Mail, ReplyTo};

impl DataThread {
    pub(super) fn read_mail(&mut self) {
        let mut mail = std::mem::take(&mut self.mail);
        self.hub.node.mailboxes.collect(self.hub.index, &mut mail);
        for item in mail.drain(..) {
            self.read(item);
        }
        self.mail = mail;
    }

    fn read(&mut self, mail: Mail) {
        match mail {
            Mail::Reply(to, bytes) => self.hub.deliver(to, bytes),
            Mail::Wake(id) => self.hub.wake(id),
            Mail::Offloaded(finished) => self.hub.take_back(*finished),
            Mail::Acks => self.hub.look_at_gates(),
            Mail::Client(socket, peer) => self.add(mio::net::TcpStream::from_std(socket), peer),
            Mail::Accept(listener) => self.accept(listener),
            Mail::Settings => self.hub.settings = self.hub.node.config.settings(),
            Mail::Kill(id) => self.hub.kill(id),
            Mail::Drain { deadline } => self.hub.draining = Some(deadline),
        }
    }
}

impl Hub {
    fn deliver(&mut self, to: ReplyTo, bytes: Vec<u8>) {
        let Some(at) = self.by_id.get(&to.session).copied() else { return };
        self.node.stats.errors.count(&bytes);
        let Some(connection) = self.connection(at) else { return };
        if !connection.output.fulfil(to.seq, bytes) {
            tracing::warn!("a second reply to request {} of client id={} was dropped", to.seq, to.session);
            return;
        }
        if matches!(connection.state, State::Deferred) && connection.output.pending() == 0 {
            connection.state = State::Open;
        }
        self.book_gate(at);
        self.list(at);
    }

    fn wake(&mut self, id: u64) {
        let Some(at) = self.by_id.get(&id).copied() else { return };
        let Some(connection) = self.connection(at) else { return };
        if matches!(connection.state, State::Parked) {
            connection.state = State::Open;
            self.list(at);
        }
    }

    fn look_at_gates(&mut self) {
        let waiting: Vec<usize> = self.gated.iter().copied().collect();
        for at in waiting {
            self.look_at_gate(at);
            self.list(at);
        }
    }

    fn kill(&mut self, id: u64) {
        let Some(at) = self.by_id.get(&id).copied() else { return };
        let Some(connection) = self.connection(at) else { return };
        connection.dead = true;
        self.list(at);
    }
}
