// SPDX-License-Identifier: MPL-2.0

//! What the connection's task and the streaming thread share: the newest picture, the
//! acknowledgements to send, and the counts.

use b64jpeg_net::socketio::Message;

use super::event_picture::EventPicture;
use crate::common::{capture_time::Delays, stats::Stats};

/// Most events that wait for their picture to be taken; the oldest is acknowledged earlier.
const MAX_PENDING: usize = 64;
/// Most acknowledgements that wait to be sent; further ones are dropped.
const MAX_READY: usize = 1024;

#[derive(Default)]
pub struct Inbox {
    /// The newest picture, and its number.
    pub newest: Option<(u64, EventPicture)>,
    /// Pictures that have arrived.
    pub pictures: u64,
    /// Acknowledgements of the events up to the newest picture, which has not been taken yet.
    pending: Vec<Message>,
    /// Acknowledgements to send.
    ready: Vec<Message>,
    /// The next good picture is the first one of its connection.
    pub first: bool,
    /// There is a gap before the next picture.
    pub discont: bool,
    /// No further pictures will arrive.
    pub ended: bool,
    /// GstBaseSrc wants the streaming thread to return.
    pub unlocked: bool,
    /// The streaming thread must wait until the element plays again.
    pub paused: bool,
    /// On this connection, events without a picture for this element were reported.
    pub reported_other_events: bool,
    pub connected: bool,
    pub connections: u64,
    pub stats: Stats,
    pub delays: Delays,
}

impl Inbox {
    /// Takes over from the connection before.
    pub fn begin_connection(&mut self) {
        self.connected = true;
        self.connections += 1;
        self.first = true;
        self.discont = true;
        self.reported_other_events = false;
        self.clear_acknowledgements();
    }

    /// There is no connection any more.
    pub fn end_connection(&mut self) {
        self.connected = false;
        self.clear_acknowledgements();
    }

    fn clear_acknowledgements(&mut self) {
        self.pending.clear();
        self.ready.clear();
    }

    /// Stores a picture, and the acknowledgement of its event, which is sent when the picture
    /// is taken.
    pub fn put(&mut self, picture: EventPicture, acknowledgement: Option<Message>) {
        let number = self.pictures;
        self.pictures += 1;
        let replaced = self.newest.replace((number, picture)).is_some();
        self.stats.dropped += u64::from(replaced);
        self.pending.extend(acknowledgement);
        if self.pending.len() > MAX_PENDING {
            let oldest = self.pending.remove(0);
            self.acknowledge([oldest]);
        }
    }

    /// Takes the newest picture, and whether there are acknowledgements to send.
    pub fn take_newest(&mut self) -> Option<((u64, EventPicture), bool)> {
        let newest = self.newest.take()?;
        let pending = std::mem::take(&mut self.pending);
        let acknowledges = !pending.is_empty();
        self.acknowledge(pending);
        Some((newest, acknowledges))
    }

    /// Makes acknowledgements ready to be sent, unless too many wait already because the
    /// server does not read them.
    pub fn acknowledge(&mut self, acknowledgements: impl IntoIterator<Item = Message>) {
        let room = MAX_READY.saturating_sub(self.ready.len());
        self.ready.extend(acknowledgements.into_iter().take(room));
    }

    /// Takes the acknowledgements to send.
    pub fn take_acknowledgements(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.ready)
    }

    /// The counts as users read them.
    pub fn structure(&mut self) -> gst::Structure {
        let mut stats = self.stats.structure();
        stats.set("connected", self.connected);
        stats.set("connections", self.connections);
        self.delays.tell(&mut stats);
        stats
    }
}

#[cfg(test)]
mod tests {
    use b64jpeg_wire::socketio::{Args, Json};
    use bytes::Bytes;

    use super::*;

    #[test]
    fn acknowledgements_to_a_server_that_reads_none_are_bounded() {
        let args = Args {
            values: vec![Json::String("/9j/".into())],
            attachments: Vec::new(),
        };
        let picture = EventPicture::find(&args, &Bytes::new(), None).expect("a picture");
        let mut inbox = Inbox::default();
        for id in 0..100_000 {
            inbox.put(picture.clone(), Some(Message::from(format!("43{id}[]"))));
            inbox.acknowledge([Message::from("43[]")]);
        }
        assert_eq!(inbox.pending.len(), MAX_PENDING);
        assert_eq!(inbox.ready.len(), MAX_READY);
        let newest = Message::from("4399999[]");
        assert_eq!(inbox.pending.last(), Some(&newest));
    }
}
