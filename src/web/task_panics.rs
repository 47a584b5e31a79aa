// SPDX-License-Identifier: MPL-2.0

//! A panic in one of the server's tasks is a bug, which must not stay unnoticed.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures_util::FutureExt;

use super::viewers::{Event, Viewers};
use crate::common::panics;

/// Runs a part of the server. If it panics, the elements are told, and end their pipelines with
/// an error: tokio alone would end the task, and nobody would know why nothing is served.
pub async fn reported(viewers: Arc<Viewers>, part: &str, task: impl Future<Output = ()>) {
    let task = async {
        #[cfg(test)]
        tests::panic_on_purpose(&viewers, part);
        task.await;
    };
    // What it leaves half-done is not used again: the pipeline ends.
    if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
        report(&viewers, part, &*panic);
    }
}

/// As [`reported`], for what is done at once; nothing if it panics.
pub fn reported_now<T>(viewers: &Viewers, part: &str, work: impl FnOnce() -> T) -> Option<T> {
    let work = || {
        #[cfg(test)]
        tests::panic_on_purpose(viewers, part);
        work()
    };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => Some(result),
        Err(panic) => {
            report(viewers, part, &*panic);
            None
        }
    }
}

fn report(viewers: &Viewers, part: &str, panic: &(dyn Any + Send)) {
    viewers.tell(&Event::Panicked(panics::message(part, panic)));
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, TcpStream},
        time::Duration,
    };

    use gst::prelude::*;
    use tokio_tungstenite::tungstenite::{self, Message};

    use super::*;

    /// Panics if this is the part in which a test wants a panic.
    pub fn panic_on_purpose(viewers: &Viewers, part: &str) {
        if viewers.panic_in == part {
            panic!("on purpose");
        }
    }

    /// Has a viewer of the page connect, who needs every part of the server.
    fn connect(port: u16) {
        let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
            return;
        };
        let url = "ws://localhost/socket.io/?EIO=4&transport=websocket";
        if let Ok((mut socket, _)) = tungstenite::client(url, stream) {
            let _ = socket.send(Message::text("40/view,"));
            while socket.read().is_ok() {}
        }
    }

    #[test]
    fn panic_in_any_part_is_an_error_and_the_sink_stops() {
        gst::init().expect("GStreamer starts");
        crate::plugin_register_static().expect("the plugin is right");
        for part in [
            "accepting connections",
            "a connection",
            "the admission of viewers",
            "the sender of events",
            "the sender to a page",
            "the end of idle sessions",
        ] {
            let sink = gst::ElementFactory::make("socketioserversink")
                .property("port", 0)
                .property("event", format!("panic in {part}"))
                .build()
                .expect("it is registered");
            let pipeline = gst::Pipeline::new();
            pipeline.add(&sink).expect("it is in no other");
            let playing = pipeline.set_state(gst::State::Playing);
            playing.expect("it waits for a picture");
            let port = sink.property::<i32>("current-port");
            let port = u16::try_from(port).expect("it listens");
            let viewer = std::thread::spawn(move || connect(port));

            let bus = pipeline.bus().expect("a pipeline has one");
            let hang = Some(gst::ClockTime::from_seconds(60));
            let message = bus.timed_pop_filtered(hang, &[gst::MessageType::Error]);
            let message = message.unwrap_or_else(|| panic!("{part}: no error"));
            let gst::MessageView::Error(error) = message.view() else {
                panic!("{message:?}");
            };
            let text = error.error().to_string();
            let wanted =
                format!("Internal error in {part}: on purpose; this is a bug in the plugin");
            assert!(text.starts_with(&wanted), "{text}");

            pipeline.set_state(gst::State::Null).expect("it stops");
            viewer.join().expect("its connection has ended");
            let again = TcpStream::connect_timeout(
                &(Ipv4Addr::LOCALHOST, port).into(),
                Duration::from_secs(60),
            );
            assert!(again.is_err(), "{part}: nobody listens any more");
        }
    }
}
