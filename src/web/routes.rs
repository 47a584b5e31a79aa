// SPDX-License-Identifier: MPL-2.0

//! The paths of the server, and the handlers that need no file of their own.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderName, StatusCode, Uri, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};

use super::{
    access_filter,
    camera_query::{CameraQuery, UnknownCamera},
    engineio, multipart, page_assets, responses,
    state::ServerState,
};

/// All paths of the server. `socket_io` handles those of Socket.IO.
pub fn router(state: Arc<ServerState>, socket_io: MethodRouter) -> Router {
    let track = middleware::from_fn_with_state(state.clone(), engineio::track_sessions);
    let socket_io = socket_io.layer(track);
    Router::new()
        .route("/", get(page_assets::page))
        .route("/stream.mjpg", get(multipart::stream))
        .route("/snapshot.jpg", get(snapshot))
        .route("/stats", get(stats))
        .with_state(state.clone())
        .route(
            "/socket.io/socket.io.js",
            get(page_assets::socket_io_client),
        )
        .route(
            "/socket.io/socket.io.min.js",
            get(page_assets::socket_io_client),
        )
        .route("/socket.io", socket_io.clone())
        .route("/socket.io/", socket_io)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(state, access_filter::filter))
}

/// `/snapshot.jpg`: the newest frame of a camera.
async fn snapshot(
    State(state): State<Arc<ServerState>>,
    Query(query): Query<CameraQuery>,
) -> Result<Response, UnknownCamera> {
    let camera = query.find(&state.cameras)?;
    let Some(frame) = camera.newest() else {
        let text = "There is no picture yet.";
        let response = responses::retry_later(StatusCode::SERVICE_UNAVAILABLE, "1", text);
        return Ok(response);
    };
    let headers = [
        (header::CONTENT_TYPE, "image/jpeg".into()),
        (HeaderName::from_static("x-timestamp"), frame.timestamp()),
    ];
    Ok((headers, frame.jpeg.clone()).into_response())
}

/// `/stats`: statistics as JSON.
async fn stats(State(state): State<Arc<ServerState>>) -> Response {
    let text = serde_json::Value::from(state.report()).to_string();
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

async fn not_found(uri: Uri) -> Response {
    let text = format!(
        "There is nothing at {}. Paths of this server: /, /stream.mjpg, /snapshot.jpg, /stats and \
         /socket.io/.",
        uri.path()
    );
    responses::text(StatusCode::NOT_FOUND, text)
}

async fn method_not_allowed() -> Response {
    responses::text(
        StatusCode::METHOD_NOT_ALLOWED,
        "Only GET and HEAD are allowed here.",
    )
}
