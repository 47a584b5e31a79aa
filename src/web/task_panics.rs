// SPDX-License-Identifier: MPL-2.0

//! Reports panics in the tasks of a server to its elements, which end their pipelines with an
//! error. tokio alone would only end the task, and the server would stay silently broken.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures_util::FutureExt;

use super::viewers::{Viewers, WebServerEvent};
use crate::common::panics;

/// Runs a task and reports its panic. `name` says what the task does.
pub async fn run_reporting_panics(
    viewers: Arc<Viewers>,
    name: &str,
    task: impl Future<Output = ()>,
) {
    let task = async {
        #[cfg(test)]
        tests::panic_on_purpose(&viewers, name);
        task.await;
    };
    // State that the panic leaves inconsistent is not used again: the pipeline ends.
    if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
        report(&viewers, name, &*panic);
    }
}

/// As [`run_reporting_panics`], for a function; `None` if it panics.
pub fn call_reporting_panics<T>(
    viewers: &Viewers,
    name: &str,
    function: impl FnOnce() -> T,
) -> Option<T> {
    let function = || {
        #[cfg(test)]
        tests::panic_on_purpose(viewers, name);
        function()
    };
    match catch_unwind(AssertUnwindSafe(function)) {
        Ok(result) => Some(result),
        Err(panic) => {
            report(viewers, name, &*panic);
            None
        }
    }
}

fn report(viewers: &Viewers, name: &str, panic: &(dyn Any + Send)) {
    viewers.notify(&WebServerEvent::TaskPanicked(panics::message(name, panic)));
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

    /// Panics if this is the task in which a test wants a panic.
    pub fn panic_on_purpose(viewers: &Viewers, name: &str) {
        if viewers.panic_in == name {
            panic!("on purpose");
        }
    }

    /// Connects as a page does, which needs every task of the server.
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
    fn panic_in_any_task_posts_error_and_sink_stops() {
        gst::init().expect("GStreamer starts");
        crate::plugin_register_static().expect("the plugin registers");
        for task in [
            "accepting connections",
            "a connection",
            "the admission of viewers",
            "the sender of events",
            "the sender to a page",
            "the end of idle sessions",
        ] {
            let sink = gst::ElementFactory::make("socketioserversink")
                .property("port", 0)
                .property("event", format!("panic in {task}"))
                .build()
                .expect("a registered element");
            let pipeline = gst::Pipeline::new();
            pipeline.add(&sink).expect("a free element");
            let playing = pipeline.set_state(gst::State::Playing);
            playing.expect("a state change");
            let port = sink.property::<i32>("current-port");
            let port = u16::try_from(port).expect("a port");
            let viewer = std::thread::spawn(move || connect(port));

            let bus = pipeline.bus().expect("a pipeline has a bus");
            let hang = Some(gst::ClockTime::from_seconds(60));
            let message = bus.timed_pop_filtered(hang, &[gst::MessageType::Error]);
            let message = message.unwrap_or_else(|| panic!("{task}: no error"));
            let gst::MessageView::Error(error) = message.view() else {
                panic!("{message:?}");
            };
            let text = error.error().to_string();
            let wanted =
                format!("Internal error in {task}: on purpose; this is a bug in the plugin");
            assert!(text.starts_with(&wanted), "{text}");

            pipeline
                .set_state(gst::State::Null)
                .expect("a state change");
            viewer.join().expect("the viewer ends");
            let again = TcpStream::connect_timeout(
                &(Ipv4Addr::LOCALHOST, port).into(),
                Duration::from_secs(60),
            );
            assert!(again.is_err(), "{task}: the server still listens");
        }
    }
}
