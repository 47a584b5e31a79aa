// SPDX-License-Identifier: MPL-2.0

//! Helpers that the integration tests share.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod background;
pub mod certificates;
pub mod element_fixture;
pub mod isolation;
pub mod numbered_pictures;
pub mod peer;
pub mod pipeline;
pub mod process;
pub mod raw_server;
pub mod relay;
pub mod server_fixture;
pub mod viewer;
pub mod wait;
pub mod wire;

use std::{env, fs, path::PathBuf, sync::Once};

/// Initialises GStreamer and registers our elements in this process.
pub fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        gst::init().expect("GStreamer starts");
        gstb64jpeg::plugin_register_static().expect("our plugin registers");
    });
}

/// Directory that holds our plugin and nothing else, for `GST_PLUGIN_PATH`.
///
/// GStreamer scans plugin directories recursively; pointed at cargo's target
/// directory it would load every procedural macro it finds there.
pub fn plugin_dir() -> PathBuf {
    static LINK: Once = Once::new();
    let exe = env::current_exe().expect("a test has a path");
    // target/<profile>/deps/<test>
    let dir = exe
        .ancestors()
        .nth(2)
        .expect("cargo's layout")
        .join("gstreamer-1.0");
    LINK.call_once(|| {
        // The plugin that was built with this test; others in target/ may be older.
        let plugin = exe.with_file_name("libgstb64jpeg.so");
        assert!(plugin.exists(), "cargo built {}", plugin.display());
        fs::create_dir_all(&dir).expect("plugin directory");
        let link = dir.join("libgstb64jpeg.so");
        // Another test binary may have made the same link already.
        let _ = std::os::unix::fs::symlink(&plugin, &link);
    });
    dir
}

/// Peak signal-to-noise ratio of two pictures of the same size, in dB.
pub fn psnr(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |(a, b): (&u8, &u8)| u64::from(a.abs_diff(*b)).pow(2);
    let error = a.iter().zip(b).map(square).sum::<u64>() as f64 / a.len() as f64;
    10.0 * (255.0_f64.powi(2) / error).log10()
}
