// SPDX-License-Identifier: MPL-2.0

//! What there is to ask for by HTTP, but for the pictures without an end.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderName, StatusCode, Uri, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use serde::Deserialize;

use super::{
    Shared, access_control,
    cameras::{Camera, Frame},
    multipart, page_assets, socketio,
};

/// What may be told of what is asked for.
#[derive(Deserialize)]
pub struct CameraQuery {
    camera: Option<String>,
}

/// With Socket.IO among them.
pub fn router(shared: Arc<Shared>, socket_io: MethodRouter) -> Router {
    let follow = middleware::from_fn_with_state(shared.clone(), socketio::follow);
    let socket_io = socket_io.layer(follow);
    Router::new()
        .route("/", get(page_assets::page))
        .route("/stream.mjpg", get(multipart::stream))
        .route("/snapshot.jpg", get(snapshot))
        .route("/stats", get(stats))
        .with_state(shared.clone())
        .route("/socket.io/socket.io.js", get(page_assets::socket_io))
        .route("/socket.io/socket.io.min.js", get(page_assets::socket_io))
        .route("/socket.io", socket_io.clone())
        .route("/socket.io/", socket_io)
        .fallback(nothing)
        .method_not_allowed_fallback(not_this_way)
        .layer(middleware::from_fn_with_state(
            shared,
            access_control::check,
        ))
}

/// An answer of one sentence.
pub fn short(status: StatusCode, text: impl Into<String>) -> Response {
    (status, text.into() + "\n").into_response()
}

/// As some cameras tell it.
pub fn timestamp(frame: &Frame) -> String {
    let micros = frame.captured / 1000;
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// The camera that is asked for.
pub fn camera(shared: &Shared, query: &CameraQuery) -> Option<Arc<Camera>> {
    shared.cameras.find(query.camera.as_deref())
}

/// What is said when there is none.
pub fn no_camera(shared: &Shared) -> Response {
    let names = shared.cameras.names();
    let text = format!(
        "There is no such camera here, but these: {:?}.",
        *names.borrow()
    );
    short(StatusCode::NOT_FOUND, text)
}

/// The newest picture, at once.
async fn snapshot(State(shared): State<Arc<Shared>>, Query(query): Query<CameraQuery>) -> Response {
    let Some(camera) = camera(&shared, &query) else {
        return no_camera(&shared);
    };
    let Some(frame) = camera.newest() else {
        let later = [(header::RETRY_AFTER, "1")];
        let text = "There is no picture yet.";
        return (later, short(StatusCode::SERVICE_UNAVAILABLE, text)).into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, "image/jpeg".into()),
        (HeaderName::from_static("x-timestamp"), timestamp(&frame)),
    ];
    (headers, frame.jpeg.clone()).into_response()
}

async fn stats(State(shared): State<Arc<Shared>>) -> Response {
    let text = serde_json::Value::from(shared.report()).to_string();
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

async fn nothing(uri: Uri) -> Response {
    let text = format!(
        "There is no {} here, but /, /stream.mjpg, /snapshot.jpg, /stats and /socket.io/.",
        uri.path()
    );
    short(StatusCode::NOT_FOUND, text)
}

async fn not_this_way() -> Response {
    short(
        StatusCode::METHOD_NOT_ALLOWED,
        "GET and HEAD are all there is to do here.",
    )
}
