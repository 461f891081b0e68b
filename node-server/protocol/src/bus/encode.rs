//! Messages to bytes, always with a full header.

use super::header::Envelope;
use super::{
    Body, GossipEntry, HEADER_LEN, Heartbeat, MessageFlags, ModuleMessage, Packet, Publication, Update,
};

/// What the count fields of a header can say.
const MAX_COUNT: usize = u16::MAX as usize;

impl Packet {
    /// The frame. Gossip entries and extensions beyond 65535 are left out, since the header cannot count them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut data = Vec::new();
        self.body.write(&mut data);
        let (gossip, extensions) = self.body.heartbeat().map_or((0, 0), Heartbeat::counts);
        let total_len = HEADER_LEN + data.len();
        let envelope = Envelope {
            kind: self.body.kind(),
            total_len: u32::try_from(total_len)
                .expect("a body is far below 4 GiB: clients' values are below 512 MiB"),
            gossip_count: gossip,
            extension_count: extensions,
        };
        let mut frame = Vec::with_capacity(total_len);
        if extensions > 0 {
            let mut header = self.header.clone();
            header.message_flags |= MessageFlags::EXT_DATA;
            header.write(&envelope, &mut frame);
        } else {
            self.header.write(&envelope, &mut frame);
        }
        frame.extend_from_slice(&data);
        frame
    }
}

impl Heartbeat {
    fn counts(&self) -> (u16, u16) {
        (self.gossip.len().min(MAX_COUNT) as u16, self.extensions.len().min(MAX_COUNT) as u16)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.reserve(self.gossip.len() * GossipEntry::LEN);
        for entry in self.gossip.iter().take(MAX_COUNT) {
            entry.write(out);
        }
        for extension in self.extensions.iter().take(MAX_COUNT) {
            extension.write(out);
        }
    }
}

impl Body {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ping(heartbeat) | Self::Pong(heartbeat) | Self::Meet(heartbeat) => heartbeat.write(out),
            Self::Fail { node } => out.extend_from_slice(&node.to_hex()),
            Self::Publish(publication) | Self::PublishShard(publication) => publication.write(out),
            Self::AuthRequest | Self::AuthAck | Self::MfStart => {}
            Self::Update(update) => update.write(out),
            Self::Module(message) => message.write(out),
            Self::Unknown { data, .. } => out.extend_from_slice(data),
        }
    }
}

impl Publication {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&len_field(&self.channel));
        out.extend_from_slice(&len_field(&self.message));
        out.extend_from_slice(&self.channel);
        out.extend_from_slice(&self.message);
    }
}

impl Update {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.config_epoch.0.to_be_bytes());
        out.extend_from_slice(&self.node.to_hex());
        out.extend_from_slice(&self.slots.to_bitmap());
    }
}

impl ModuleMessage {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.module);
        out.extend_from_slice(&len_field(&self.payload));
        out.push(self.kind);
        out.extend_from_slice(&self.payload);
    }
}

fn len_field(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).expect("a client's value is below 512 MiB").to_be_bytes()
}
