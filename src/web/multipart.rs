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
//! only when they see that it is over. Chromium sees it only by the head of the next one, so
//! if there is none soon the same picture is sent once more.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{Extension, Query, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use tokio::{sync::watch, time::timeout};

use super::{
    Shared,
    cameras::Frame,
    connection::Line,
    routes::{self, CameraQuery, short, timestamp},
    viewers::{Kind, Seat},
};

const CONTENT_TYPE: &str = "multipart/x-mixed-replace; boundary=frame";
/// How long the newest picture is left to itself.
const REPEAT: Duration = Duration::from_millis(200);

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
        last: None,
        repeated: false,
    };
    let parts = stream::unfold(parts, async |mut parts| Some((parts.next().await?, parts)));
    let chunks = stream::iter([FIRST]).chain(parts.flat_map(stream::iter));
    let body = Body::from_stream(chunks.map(Ok::<_, Infallible>));
    (headers, body).into_response()
}

struct Parts {
    frames: watch::Receiver<Option<Arc<Frame>>>,
    seat: Seat,
    last: Option<Arc<Frame>>,
    /// Whether that was sent twice.
    repeated: bool,
}

impl Parts {
    /// The next part, when the one before has gone.
    async fn next(&mut self) -> Option<[Bytes; 3]> {
        let frame = self.frame().await?;
        let head = format!(
            "Content-Type: image/jpeg\r\nContent-Length: {}\r\nX-Timestamp: {}\r\n\r\n",
            frame.jpeg.len(),
            timestamp(&frame)
        );
        Some([head.into(), frame.jpeg.clone(), NEXT])
    }

    /// The newest picture, when there is one that was not sent, or was sent for a while.
    async fn frame(&mut self) -> Option<Arc<Frame>> {
        if let Some(last) = self.last.clone().filter(|_| !self.repeated) {
            match timeout(REPEAT, self.frames.changed()).await {
                Ok(changed) => changed.ok()?,
                Err(_) => {
                    self.repeated = true;
                    return Some(last);
                }
            }
        } else {
            self.frames.changed().await.ok()?;
        }
        let frame = self.frames.borrow_and_update().clone()?;
        self.repeated = false;
        let last = self.last.replace(frame.clone());
        let left_out = last.map_or(0, |last| frame.number - last.number - 1);
        self.seat.viewer.sent(1);
        self.seat.viewer.dropped(left_out);
        Some(frame)
    }
}
