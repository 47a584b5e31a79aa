// SPDX-License-Identifier: MPL-2.0

//! Pictures one after the other in an HTTP answer without an end, as `<img>`, OpenCV,
//! ffmpeg and many others take them.
//!
//! ```text
//! --frame CRLF
//! Content-Type: image/jpeg CRLF  Content-Length: n CRLF  X-Timestamp: s.µs CRLF  CRLF
//! JPEG CRLF
//! --frame CRLF
//! …
//! ```
//!
//! The boundary is sent behind a picture and not before the next one: some show a picture
//! only when they see that it is over.

use std::{convert::Infallible, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::{Extension, Query, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use tokio::sync::watch;

use super::{
    Shared,
    cameras::Frame,
    line::Line,
    routes::{self, CameraQuery, short, timestamp},
    viewers::{Kind, Seat},
};

const CONTENT_TYPE: &str = "multipart/x-mixed-replace; boundary=frame";
const FIRST: Bytes = Bytes::from_static(b"--frame\r\n");
const NEXT: Bytes = Bytes::from_static(b"\r\n--frame\r\n");

pub async fn stream(
    State(shared): State<Arc<Shared>>,
    Extension(line): Extension<Arc<Line>>,
    Query(query): Query<CameraQuery>,
    method: Method,
) -> Response {
    let Some(camera) = routes::camera(&shared, &query) else {
        return routes::no_camera(&shared);
    };
    let headers = [(header::CONTENT_TYPE, CONTENT_TYPE)];
    if method == Method::HEAD {
        // As long as the other would be, which nobody knows.
        let body = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        return (headers, body).into_response();
    }
    let Some(seat) = shared
        .viewers
        .admit(Kind::Multipart, line.address, String::new())
    else {
        let later = [(header::RETRY_AFTER, "5")];
        let text = "As many viewers are here as max-clients allows.";
        return (later, short(StatusCode::SERVICE_UNAVAILABLE, text)).into_response();
    };
    let parts = Parts {
        frames: camera.watch(),
        seat,
        next: None,
    };
    let parts = stream::unfold(parts, async |mut parts| Some((parts.next().await?, parts)));
    let chunks = stream::iter([FIRST]).chain(parts.flat_map(stream::iter));
    let body = Body::from_stream(chunks.map(Ok::<_, Infallible>));
    (headers, body).into_response()
}

struct Parts {
    frames: watch::Receiver<Option<Arc<Frame>>>,
    seat: Seat,
    /// The number of the next picture if none is left out.
    next: Option<u64>,
}

impl Parts {
    /// The newest picture, when there is one that was not sent. It is asked for when the
    /// one before has gone.
    async fn next(&mut self) -> Option<[Bytes; 3]> {
        let frame = loop {
            self.frames.changed().await.ok()?;
            if let Some(frame) = self.frames.borrow_and_update().clone() {
                break frame;
            }
        };
        let viewer = &self.seat.viewer;
        viewer.sent(1);
        viewer.dropped(
            frame
                .number
                .saturating_sub(self.next.unwrap_or(frame.number)),
        );
        self.next = Some(frame.number + 1);
        let head = format!(
            "Content-Type: image/jpeg\r\nContent-Length: {}\r\nX-Timestamp: {}\r\n\r\n",
            frame.jpeg.len(),
            timestamp(&frame)
        );
        Some([head.into(), frame.jpeg.clone(), NEXT])
    }
}
