// SPDX-License-Identifier: MPL-2.0

//! The query parameter `camera`, which selects a camera.

use std::{error::Error, fmt, sync::Arc};

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{
    cameras::{Camera, Cameras},
    responses,
};

/// Query parameters: `?camera=NAME`.
#[derive(Deserialize)]
pub struct CameraQuery {
    camera: Option<String>,
}

impl CameraQuery {
    /// The selected camera, or the first one if the query names none.
    ///
    /// # Errors
    ///
    /// If there is no such camera.
    pub fn find(&self, cameras: &Cameras) -> Result<Arc<Camera>, UnknownCamera> {
        let found = cameras.find(self.camera.as_deref());
        found.ok_or_else(|| UnknownCamera {
            known: cameras.names().borrow().clone(),
        })
    }
}

/// No camera has the name that a query selects. As a response: 404.
#[derive(Debug)]
pub struct UnknownCamera {
    /// The names of all cameras.
    known: Vec<String>,
}

impl fmt::Display for UnknownCamera {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = &self.known;
        write!(
            f,
            "There is no such camera. Cameras of this server: {known:?}."
        )
    }
}

impl Error for UnknownCamera {}

impl IntoResponse for UnknownCamera {
    fn into_response(self) -> Response {
        responses::text(StatusCode::NOT_FOUND, self.to_string())
    }
}
