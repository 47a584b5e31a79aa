// SPDX-License-Identifier: MPL-2.0

//! A panic in our code ends in an error on the bus.
//!
//! The bindings also catch a panic in a virtual method, but afterwards they call no method of
//! that element any more: its pads stay active, its tasks run on, nothing interrupts them, and
//! the pipeline hangs on its way to NULL. So each of our methods catches its own panics, and the
//! element can still be stopped and started again. In closures that C code calls directly (pad
//! functions, probes, `call_async`) a panic would abort the process.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use gst::{prelude::*, subclass::prelude::*};

/// Runs `body`, which is `method` of an element. After a panic it posts an error and
/// returns `failure`.
pub fn guard<T: ElementImpl, R>(imp: &T, method: &str, failure: R, body: impl FnOnce() -> R) -> R {
    guard_element(imp.obj().upcast_ref(), method, failure, body)
}

/// As [`guard`], for code that has the element only.
pub fn guard_element<R>(
    element: &gst::Element,
    method: &str,
    failure: R,
    body: impl FnOnce() -> R,
) -> R {
    catch_element(element, method, body).unwrap_or_else(|message| {
        element.post_error_message(message);
        failure
    })
}

/// Runs `body`, which is `method` of an element, for callers that post the error.
///
/// # Errors
///
/// The message that reports a panic.
pub fn catch<T: ElementImpl, R>(
    imp: &T,
    method: &str,
    body: impl FnOnce() -> R,
) -> Result<R, gst::ErrorMessage> {
    catch_element(imp.obj().upcast_ref(), method, body)
}

fn catch_element<R>(
    _element: &gst::Element,
    method: &str,
    body: impl FnOnce() -> R,
) -> Result<R, gst::ErrorMessage> {
    let body = || {
        #[cfg(test)]
        tests::provoke(_element, method);
        body()
    };
    // Our locks ignore poisoning.
    catch_unwind(AssertUnwindSafe(body)).map_err(|panic| message(method, &*panic))
}

/// The error that reports a panic.
pub fn message(method: &str, panic: &(dyn Any + Send)) -> gst::ErrorMessage {
    let text = text(panic);
    gst::error_msg!(
        gst::LibraryError::Failed,
        ("Internal error in {method}: {text}; this is a bug in the plugin, please report it")
    )
}

/// The text of a panic.
pub fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a text")
}

#[cfg(test)]
pub mod tests;
