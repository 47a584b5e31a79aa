// SPDX-License-Identifier: MPL-2.0

//! Every element that receives frames, with the test as the sender.

#[cfg(feature = "web")]
use gst::prelude::*;

use super::wire::{DEFAULT, Framing};
use crate::common::{
    element_fixture::ElementFixture,
    raw_server::{RawConnection, RawServer},
};

/// The elements that receive frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiverKind {
    Depay,
    ClientSrc,
    #[cfg(feature = "web")]
    SocketIoClientSrc,
    Check,
}

impl ReceiverKind {
    pub const ALL: &[Self] = &[
        Self::Depay,
        Self::ClientSrc,
        #[cfg(feature = "web")]
        Self::SocketIoClientSrc,
        Self::Check,
    ];

    pub fn factory(self) -> &'static str {
        match self {
            Self::Depay => "b64jpegdepay",
            Self::ClientSrc => "b64jpegclientsrc",
            #[cfg(feature = "web")]
            Self::SocketIoClientSrc => "socketioclientsrc",
            Self::Check => "jpegcheck",
        }
    }
}

/// A receiving element in a playing pipeline.
pub struct Receiver {
    pub fixture: ElementFixture,
    /// Number of frames received before those of the test.
    pub before: u64,
    framing: Framing,
    source: Source,
}

enum Source {
    /// The `appsrc` named `feed` in the pipeline, which gets framed or bare JPEGs.
    Feed {
        framed: bool,
    },
    Tcp(RawConnection),
    /// A pipeline with an `appsrc` named `feed` and a `socketioserversink`.
    #[cfg(feature = "web")]
    Web(Box<ElementFixture>),
}

impl Receiver {
    #[track_caller]
    pub fn new(kind: ReceiverKind, properties: &str) -> Self {
        Self::of_framing(kind, DEFAULT, properties)
    }

    /// As [`Self::new`], with another framing. `jpegcheck` and Socket.IO have none.
    #[track_caller]
    pub fn of_framing(kind: ReceiverKind, framing: Framing, properties: &str) -> Self {
        let sink = "fakesink name=sink sync=false";
        let element = format!("{} name=element {properties}", kind.factory());
        let feed = |caps: &str| {
            let line =
                format!("appsrc name=feed is-live=true format=time {caps} ! {element} ! {sink}");
            let fixture = ElementFixture::launch(&line, "none");
            fixture.pipeline.play();
            fixture
        };
        let (fixture, source) = match kind {
            ReceiverKind::Depay => (
                feed("caps=application/x-b64jpeg"),
                Source::Feed { framed: true },
            ),
            ReceiverKind::Check => (feed(""), Source::Feed { framed: false }),
            ReceiverKind::ClientSrc => {
                let server = RawServer::new();
                let line = format!("{element} host=127.0.0.1 port={} ! {sink}", server.port());
                let fixture = ElementFixture::launch(&line, "none");
                fixture.pipeline.play();
                (fixture, Source::Tcp(server.accept()))
            }
            #[cfg(feature = "web")]
            ReceiverKind::SocketIoClientSrc => {
                let line = "appsrc name=feed is-live=true format=time caps=image/jpeg
                    ! socketioserversink name=element port=0 sync=false async=false";
                let server = ElementFixture::launch(line, "none");
                server.pipeline.play();
                let url: String = server.element.property("url");
                let line = format!("{element} url={url} ! {sink}");
                let mut fixture = ElementFixture::launch(&line, "socketio-connection");
                fixture.pipeline.play();
                fixture.expect_states(&["connecting", "connected"]);
                // A viewer that joins while the first frame is sent may receive it twice.
                let jpegs = &super::wire::pictures(250)[248..];
                server.push(&jpegs[0]);
                fixture.next(1);
                server.push(&jpegs[1]);
                while super::wire::bytes(&fixture.next(1)[0].buffer) != jpegs[1] {}
                (fixture, Source::Web(Box::new(server)))
            }
        };
        let before = match source {
            #[cfg(feature = "web")]
            Source::Web(_) => fixture.stat("frames") + fixture.stat("dropped"),
            _ => 0,
        };
        Self {
            before,
            fixture,
            framing,
            source,
        }
    }

    /// Sends a JPEG, or any other payload.
    #[track_caller]
    pub fn send(&mut self, jpeg: &[u8]) {
        match &mut self.source {
            Source::Feed { framed: true } => self.fixture.push(&self.framing.frame(jpeg)),
            Source::Feed { framed: false } => self.fixture.push(jpeg),
            Source::Tcp(peer) => {
                peer.send(self.framing.frame(jpeg));
            }
            #[cfg(feature = "web")]
            Source::Web(server) => server.push(jpeg),
        }
    }

    /// Sends a JPEG and expects it as the output; returns its buffer.
    #[track_caller]
    pub fn pass(&mut self, jpeg: &[u8]) -> gst::Buffer {
        self.send(jpeg);
        let picture = self.fixture.expect_frames(&[jpeg.to_vec()]).remove(0);
        picture.buffer
    }
}
