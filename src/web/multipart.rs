// SPDX-License-Identifier: MPL-2.0

//! Motion JPEG: frames as parts of an HTTP response that does not end, as `<img>`, OpenCV,
//! FFmpeg and many other programs read them.
//!
//! ```text
//! --frame CRLF
//! Content-Type: image/jpeg CRLF  Content-Length: n CRLF  X-Timestamp: s.µs CRLF  CRLF
//! JPEG CRLF
//! --frame CRLF
//! …
//! ```
//!
//! The boundary is sent right after each frame and not before the next one, because some
//! programs show a frame only once they have read its end. Chromium detects the end only at the
//! head of the next part, so a frame that is not replaced soon is sent a second time.

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
    camera_query::{CameraQuery, UnknownCamera},
    cameras::CameraFrame,
    connection::HttpConnection,
    responses,
    state::ServerState,
    viewers::{ViewerKind, ViewerRegistration},
};

const CONTENT_TYPE: &str = "multipart/x-mixed-replace; boundary=frame";
/// Time after which a frame that is still the newest is sent again.
const REPEAT_DELAY: Duration = Duration::from_millis(200);

const FIRST_BOUNDARY: Bytes = Bytes::from_static(b"--frame\r\n");
const NEXT_BOUNDARY: Bytes = Bytes::from_static(b"\r\n--frame\r\n");

/// `/stream.mjpg`: the newest frames of a camera for as long as the viewer reads them.
pub async fn stream(
    State(state): State<Arc<ServerState>>,
    Extension(connection): Extension<Arc<HttpConnection>>,
    Query(query): Query<CameraQuery>,
    method: Method,
) -> Result<Response, UnknownCamera> {
    let camera = query.find(&state.cameras)?;
    let headers = [(header::CONTENT_TYPE, CONTENT_TYPE)];
    if method == Method::HEAD {
        // A body of unknown length, so that the headers are those of a GET response.
        let body = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        return Ok((headers, body).into_response());
    }
    let registration =
        (state.viewers).register(ViewerKind::Multipart, connection.address, String::new());
    let Some(registration) = registration else {
        let text = "The server has as many viewers as max-clients allows.";
        let response = responses::retry_later(StatusCode::SERVICE_UNAVAILABLE, "5", text);
        return Ok(response);
    };
    let parts = FrameParts {
        frames: camera.subscribe(),
        registration,
        last: None,
        repeated: false,
    };
    let parts = stream::unfold(parts, async |mut parts| Some((parts.next().await?, parts)));
    let chunks = stream::iter([FIRST_BOUNDARY]).chain(parts.flat_map(stream::iter));
    let body = Body::from_stream(chunks.map(Ok::<_, Infallible>));
    Ok((headers, body).into_response())
}

/// The parts of one response.
struct FrameParts {
    frames: watch::Receiver<Option<Arc<CameraFrame>>>,
    registration: ViewerRegistration,
    /// The frame that was sent last.
    last: Option<Arc<CameraFrame>>,
    /// Whether that was sent twice.
    repeated: bool,
}

impl FrameParts {
    /// The next part, asked for when the one before is sent; `None` when the camera is removed.
    async fn next(&mut self) -> Option<[Bytes; 3]> {
        let frame = self.next_frame().await?;
        let head = format!(
            "Content-Type: image/jpeg\r\nContent-Length: {}\r\nX-Timestamp: {}\r\n\r\n",
            frame.jpeg.len(),
            frame.timestamp()
        );
        Some([head.into(), frame.jpeg.clone(), NEXT_BOUNDARY])
    }

    /// The newest frame once it is a new one, or the last frame if it is to be repeated.
    async fn next_frame(&mut self) -> Option<Arc<CameraFrame>> {
        if let Some(last) = self.last.clone().filter(|_| !self.repeated) {
            match timeout(REPEAT_DELAY, self.frames.changed()).await {
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
        let dropped = last.map_or(0, |last| frame.number - last.number - 1);
        self.registration.viewer.count_sent(1);
        self.registration.viewer.count_dropped(dropped);
        Some(frame)
    }
}
