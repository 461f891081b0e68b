//! One command in, one reply out: at once where it changes nothing, else when the change is on disk.

use super::Command;
use crate::Cluster;
use crate::gate::Promise;
use crate::io::{Asker, DatasetInfo, Output, Token};
use node_server_protocol::Family;
use node_server_protocol::resp::ReplyWriter;

/// What has to happen before the reply leaves.
pub(super) enum Before {
    /// Nothing: it changed nothing.
    Nothing,
    /// nodes.conf is written.
    Disk,
    /// That, and then the replicas have this command.
    DiskAndReplicas(Vec<Vec<u8>>),
}

/// The text of a RESP error, its code first.
pub(super) type Outcome = Result<Before, String>;

impl Cluster {
    pub(crate) fn on_command(&mut self, token: Token, command: &Command, asker: Asker, keys: DatasetInfo) {
        let Asker { protocol, family } = asker;
        let mut bytes = Vec::new();
        let outcome = self.execute(command, keys, family, &mut ReplyWriter::new(&mut bytes, protocol));
        match outcome {
            Ok(Before::Nothing) => self.emit(Output::Reply { token, bytes }),
            Ok(Before::Disk) => self.promise(Promise::Output(Output::Reply { token, bytes })),
            Ok(Before::DiskAndReplicas(command)) => {
                let output = Output::ReplicateThenReply { token, command, bytes };
                self.promise(Promise::Output(output));
            }
            Err(text) => {
                bytes.clear();
                ReplyWriter::new(&mut bytes, protocol).error(&text);
                self.emit(Output::Reply { token, bytes });
            }
        }
    }

    fn execute(
        &mut self,
        command: &Command,
        keys: DatasetInfo,
        family: Family,
        reply: &mut ReplyWriter<'_>,
    ) -> Outcome {
        match command {
            Command::Nodes => reply.verbatim("txt", self.nodes_reply(family).as_bytes()),
            Command::Info => reply.verbatim("txt", self.info_reply(keys).as_bytes()),
            Command::MyId => reply.bulk(&self.view.me.to_hex()),
            Command::MyShardId => reply.bulk(&self.view.myself().shard_id.to_hex()),
            Command::Slots => self.slots_reply(family, reply),
            Command::Shards => self.shards_reply(family, reply),
            Command::Links => self.links_reply(reply),
            Command::Help => super::help::help_reply(reply),
            Command::Replicas(name) => self.replicas_reply(name, family, reply)?,
            Command::CountFailureReports(name) => self.count_failure_reports(name, reply)?,
            change => return self.execute_change(change, keys, reply),
        }
        Ok(Before::Nothing)
    }

    fn execute_change(
        &mut self,
        command: &Command,
        keys: DatasetInfo,
        reply: &mut ReplyWriter<'_>,
    ) -> Outcome {
        match command {
            Command::AddSlots(ranges) => self.add_slots(ranges)?,
            Command::DelSlots(ranges) => self.delete_slots(ranges)?,
            Command::FlushSlots => self.flush_slots(keys)?,
            Command::Meet { ip, port, bus_port } => {
                self.meet(node_server_protocol::Address { ip: *ip, port: *port, bus_port: *bus_port });
            }
            Command::Forget(name) => self.forget(name)?,
            Command::Replicate(name) => self.replicate(name, keys)?,
            Command::Failover(kind) => self.failover(*kind)?,
            Command::Reset { hard } => self.reset(*hard, keys)?,
            Command::SetConfigEpoch(epoch) => self.set_config_epoch(*epoch)?,
            Command::SaveConfig => self.changed(),
            Command::Reopen => self.reopen(),
            Command::BumpEpoch => {
                let bumped = self.bump_epoch().is_some();
                let (word, epoch) =
                    (if bumped { "BUMPED" } else { "STILL" }, self.view.myself().config_epoch);
                reply.simple(&format!("{word} {epoch}"));
                return Ok(Before::Disk);
            }
            Command::SetSlot(set_slot) => {
                let before = self.set_slot(set_slot, keys)?;
                reply.ok();
                return Ok(before);
            }
            Command::Nodes
            | Command::Info
            | Command::MyId
            | Command::MyShardId
            | Command::Slots
            | Command::Shards
            | Command::Links
            | Command::Help
            | Command::Replicas(_)
            | Command::CountFailureReports(_) => return Ok(Before::Nothing),
        }
        reply.ok();
        Ok(Before::Disk)
    }
}
