// SPDX-License-Identifier: MPL-2.0

//! Why the element cannot start, as an error message that names the properties to change.

use super::settings::Settings;
use crate::{
    common::{error_policy::sentence, sender_settings::cannot_listen},
    web::{CameraNameError, RegistrationError},
};

/// The error message for a camera that the server does not accept.
pub fn error_message(error: &RegistrationError, settings: &Settings) -> gst::ErrorMessage {
    let (host, port) = (&settings.server.host, settings.server.port);
    match error {
        RegistrationError::TlsIncomplete => gst::error_msg!(
            gst::ResourceError::Settings,
            ("TLS needs both `tls-certificate` and `tls-key`")
        ),
        RegistrationError::Tls(error) => {
            let text = sentence(error);
            gst::error_msg!(gst::ResourceError::Settings, ("{text}"))
        }
        RegistrationError::Resolve(error) => cannot_listen(host, port, None, error),
        RegistrationError::Listen { addresses, error } => {
            cannot_listen(host, port, Some(addresses), error)
        }
        RegistrationError::Start(_) => {
            let text = sentence(error);
            gst::error_msg!(gst::ResourceError::Failed, ("{text}"))
        }
        RegistrationError::ConfigDiffers { address, existing } => {
            let property = settings.difference(existing).unwrap_or_default();
            gst::error_msg!(
                gst::ResourceError::Settings,
                ("The cameras at {address} share one server, so `{property}` must be the same \
                     for all of them; or choose another `port`")
            )
        }
        RegistrationError::CameraName { address, error } => {
            let text = match error {
                CameraNameError::Taken(name) => format!(
                    "A camera at {address} is already named \"{name}\": choose another `camera`"
                ),
                CameraNameError::Missing => {
                    format!("Of several cameras at {address} each needs a name: set `camera`")
                }
            };
            gst::error_msg!(gst::ResourceError::Settings, ("{text}"))
        }
    }
}
