// SPDX-License-Identifier: MPL-2.0

//! What the integration tests share.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod alone;
pub mod certificates;
pub mod door;
pub mod film;
pub mod guard;
pub mod peer;
pub mod pipeline;
pub mod process;
pub mod relay;
pub mod sender;
pub mod viewer;
pub mod wire;

use std::{env, fs, path::PathBuf, sync::Once};

/// Every framing, as the properties and the peers name header and payload.
pub const FRAMINGS: [(&str, &str); 12] = [
    ("be32", "base64"),
    ("be32", "jpeg"),
    ("le32", "base64"),
    ("le32", "jpeg"),
    ("be64", "base64"),
    ("be64", "jpeg"),
    ("le64", "base64"),
    ("le64", "jpeg"),
    ("ascii16", "base64"),
    ("ascii16", "jpeg"),
    ("lines", "base64"),
    ("none", "jpeg"),
];

/// Starts GStreamer with our elements registered in this process.
pub fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        gst::init().expect("GStreamer starts");
        gstb64jpeg::plugin_register_static().expect("our plugin registers");
    });
}

/// A directory that holds our plugin and nothing else, for `GST_PLUGIN_PATH`.
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
        // The one that was built with this test; another may be older.
        let plugin = exe.with_file_name("libgstb64jpeg.so");
        assert!(plugin.exists(), "cargo built {}", plugin.display());
        fs::create_dir_all(&dir).expect("plugin directory");
        let link = dir.join("libgstb64jpeg.so");
        // Other test binaries do the same; whoever is first is right.
        let _ = std::os::unix::fs::symlink(&plugin, &link);
    });
    dir
}

/// Peak signal to noise ratio of two pictures of the same size, in dB.
pub fn psnr(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |(a, b): (&u8, &u8)| u64::from(a.abs_diff(*b)).pow(2);
    let error = a.iter().zip(b).map(square).sum::<u64>() as f64 / a.len() as f64;
    10.0 * (255.0_f64.powi(2) / error).log10()
}
