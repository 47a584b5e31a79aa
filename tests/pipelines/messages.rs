// SPDX-License-Identifier: MPL-2.0

//! What the scripts print: their help, their errors, and the pipelines of a dry run.

use std::{fs, io::Write, net::TcpListener, path::Path, process::Command, thread};

use super::{
    script::{Script, script, shell_words},
    video::{FRAMES, clip, frames, record},
};
use crate::common::{
    pipeline::{make_file, scratch},
    raw_server::ReservedPort,
};

const SCRIPTS: [&str; 12] = [
    "demo",
    "edge",
    "origin",
    "record",
    "relay-in",
    "relay-out",
    "replay",
    "router",
    "serve",
    "setup",
    "watch",
    "web",
];

/// A server that sends `greeting` to every client.
fn greeting_server(greeting: &'static [u8]) -> String {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("an address").to_string();
    // The thread runs until the test binary ends.
    thread::spawn(move || {
        let mut clients = Vec::new();
        for mut client in server.incoming().flatten() {
            let _ = client.write_all(greeting);
            clients.push(client);
        }
    });
    address
}

#[test]
fn every_script_has_help() {
    for name in SCRIPTS {
        let output = script(name, &["--help"]).output();
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(output.status.success(), "{name}");
        assert!(
            text.starts_with(&format!("Usage: pipelines/{name}.sh")),
            "{text}"
        );
        assert!(text.contains("--help"), "{text}");
        assert_eq!(output.stderr, b"");
    }
}

/// Each failure, with a part of the sentence that reports it.
#[test]
fn every_failure_is_one_sentence() {
    let dir = scratch("failures");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(dir.join("empty")).expect("a directory");
    let path = |name: &str| dir.join(name).to_str().expect("UTF-8").to_owned();
    fs::write(dir.join("noise.mp4"), b"this is not a video ".repeat(999)).expect("a file");
    fs::write(dir.join("nothing.mp4"), b"").expect("a file");
    make_file(
        "audiotestsrc num-buffers=20 ! wavenc",
        &dir.join("sound.wav"),
    );
    make_file(
        "videotestsrc num-buffers=9 ! avenc_mpeg4 ! avimux",
        &dir.join("mpeg4.avi"),
    );
    let clip = clip();
    // Nothing listens on the first port, and another program on the second one.
    let keeper = ReservedPort::new();
    let closed = format!("127.0.0.1:{}", keeper.number());
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").port().to_string();

    let ssh = greeting_server(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n");
    let pickle =
        greeting_server(b"\0\0\0\x40\x80\x04\x95\x35\0\0\0\0\0\0\0\x8c\x16numpy.core.multiarray");
    let (noise, nothing, sound) = (path("noise.mp4"), path("nothing.mp4"), path("sound.wav"));
    let (missing, directory) = (path("missing.mp4"), path("empty"));
    let (inside_missing, mpeg4) = (path("missing/x.b64jpeg"), path("mpeg4.avi"));
    let publishers = path("publishers.txt");
    fs::write(&publishers, "# who, and what\ndoor cam//door\n").expect("a file");
    let cases: &[(&str, &[&str], i32, &str)] = &[
        ("serve", &[&missing], 1, "there is no file"),
        ("serve", &[&directory], 1, "is a directory"),
        ("serve", &[&noise], 1, "is not a video"),
        ("serve", &[&nothing], 1, "is not a video"),
        ("serve", &[&sound], 1, "has no video in it"),
        (
            "serve",
            &["/dev/video99"],
            1,
            "there is no camera /dev/video99",
        ),
        ("serve", &["screen"], 1, "there is no display"),
        ("serve", &["--port", &taken, "test"], 1, "already in use"),
        (
            "serve",
            &["--port", &taken, "--fast", &clip],
            1,
            "already in use",
        ),
        (
            "serve",
            &["--host", "no-such-host.invalid", "test"],
            1,
            "not known",
        ),
        (
            "serve",
            &["--host", "192.0.2.1", "test"],
            1,
            "no address of this machine",
        ),
        ("serve", &["no-such-scheme://x"], 1, "no-such-scheme"),
        ("serve", &[], 2, "exactly one SOURCE"),
        ("serve", &["--port", "99999", "test"], 2, "from 0 to 65535"),
        ("serve", &["--quality=101", "test"], 2, "from 0 to 100"),
        ("serve", &["--width"], 2, "needs a value"),
        ("serve", &["--fast", "test"], 2, "is live"),
        ("serve", &["--loop", "test"], 2, "is live"),
        ("serve", &["--clients", "0", &clip], 2, "from 1 to"),
        ("serve", &["--fast", "--clients=2", &clip], 2, "one viewer"),
        ("watch", &["--once", &closed], 1, "Connection refused"),
        ("watch", &["--once", "no-such-host.invalid"], 1, "not known"),
        ("watch", &[&ssh], 1, "SSH"),
        ("watch", &[&pickle], 1, "pickle"),
        ("watch", &["localhost:port"], 2, "is not an address"),
        (
            "record",
            &["--once", &closed, &path("new.b64jpeg")],
            1,
            "Connection refused",
        ),
        ("record", &[&closed, &noise], 1, "exists"),
        (
            "record",
            &[&closed, &inside_missing],
            1,
            "cannot be written",
        ),
        ("replay", &[&missing], 1, "there is no file"),
        ("replay", &["--port", "0", &noise], 1, "no good frame"),
        ("web", &[], 2, "at least one SOURCE"),
        ("web", &["--nonsense"], 2, "there is no option"),
        ("web", &["--port=0", "test", "screen"], 2, "for one source"),
        ("web", &["test", "door=test", "test"], 2, "named 'test'"),
        ("web", &["--loop", "test"], 2, "is live"),
        ("web", &["--tls", &clip], 2, "a certificate and its key"),
        ("web", &["--tls", &missing, &clip, "test"], 1, "no file"),
        ("web", &[&missing], 1, "there is no file"),
        ("web", &["--loop", "test", &missing], 1, "there is no file"),
        ("web", &["--loop", &clip, &sound], 1, "has no video in it"),
        ("relay-out", &["test"], 2, "one URL and one SOURCE"),
        ("relay-out", &[&closed, &directory], 1, "is a directory"),
        ("relay-in", &[], 2, "exactly one URL"),
        (
            "relay-in",
            &["--once", "--ca-file", &missing, &closed],
            1,
            "no file",
        ),
        ("origin", &[], 2, "exactly one SOURCE"),
        ("origin", &["--key", "cam/*", "test"], 2, "is not a key"),
        ("origin", &["--key", "cam//x", "test"], 2, "is not a key"),
        ("origin", &["--tls", &clip, &clip], 2, "authority"),
        (
            "origin",
            &["--tls", &clip, &clip, &clip, "test"],
            1,
            "has no certificate in PEM format",
        ),
        ("edge", &["localhost"], 2, "--connect or --router"),
        ("edge", &["--connect=a", "--router=b"], 2, "either"),
        (
            "edge",
            &["--key", "door=cam/*/jpeg"],
            2,
            "cannot be the name",
        ),
        ("edge", &["--key", "a?b"], 2, "is not a key"),
        ("edge", &["--connect", "tcp:a:b"], 2, "is not an address"),
        ("router", &["--router", "r1"], 2, "--connect"),
        ("router", &["--publishers", &publishers], 2, "needs --tls"),
        (
            "router",
            &[
                "--dry-run",
                "--tls",
                &clip,
                &clip,
                &clip,
                "--publishers",
                &publishers,
            ],
            1,
            "line 2: 'cam//door' is not a key",
        ),
        ("setup", &["--nonsense"], 2, "there is no option"),
        ("demo", &["--nonsense"], 2, "there is no option"),
    ];
    let check = |script: Script, status: i32, text: &str| {
        let what = shell_words(&script.command);
        let output = script.output();
        let errors = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(status), "{what}: {errors}");
        assert!(errors.contains(text), "{what}: {errors}");
        // A parser may have warned about the first bad frame before.
        let sentences = errors.lines().filter(|line| !line.contains(": warning: "));
        assert_eq!(sentences.count(), 1, "{what}: {errors}");
    };
    thread::scope(|scope| {
        for half in cases.chunks(cases.len().div_ceil(2)) {
            scope.spawn(move || {
                for (name, args, status, text) in half {
                    check(script(name, args), *status, text);
                }
            });
        }
        let no_decoder = script("serve", &["--port", "0", &mpeg4])
            .env("GST_PLUGIN_FEATURE_RANK", "avdec_mpeg4:NONE");
        check(no_decoder, 1, "gstreamer1.0-libav");
        let no_plugin = script("watch", &[]).env("B64JPEG_PLUGIN_DIR", &directory);
        check(no_plugin, 1, "has no libgstb64jpeg.so");
    });
    assert!(
        !Path::new(&path("new.b64jpeg")).exists(),
        "no frame arrived"
    );
}

/// The scripts report that the plugin was built without the feature.
#[cfg(not(feature = "web"))]
#[test]
fn scripts_report_missing_web_feature() {
    for (name, args) in [
        ("web", &["test"][..]),
        ("relay-out", &["localhost", "test"]),
        ("relay-in", &["localhost"]),
    ] {
        let output = script(name, args).output();
        let errors = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(
            errors.contains("without the Cargo feature 'web'"),
            "{errors}"
        );
    }
}

#[test]
fn dry_run_prints_pipeline_and_does_nothing() {
    let nowhere = scratch("not-written.b64jpeg");
    let nowhere = nowhere.to_str().expect("UTF-8");
    let cases: [(&str, &[&str], &str); 12] = [
        ("serve", &["--dry-run", "--port=7", "test"], "port=7"),
        (
            "watch",
            &["--dry-run", "[::1]:7"],
            "b64jpegclientsrc host=::1 port=7 ",
        ),
        (
            "record",
            &["--dry-run", "localhost", nowhere],
            "! filesink location=",
        ),
        (
            "replay",
            &["--dry-run", "--framerate", "30", nowhere],
            "framerate=30/1",
        ),
        (
            "web",
            &["--dry-run", nowhere],
            "! socketioserversink host=127.0.0.1 port=8080",
        ),
        (
            "web",
            &["--dry-run", "--loop", nowhere, "test"],
            "loop=true",
        ),
        (
            "relay-out",
            &["--dry-run", "a:7", "b64jpeg://x"],
            "! socketioclientsink url=http://a:7 ",
        ),
        (
            "relay-in",
            &["--dry-run", "wss://a/x"],
            "socketioclientsrc url=wss://a/x ",
        ),
        (
            "origin",
            &["--dry-run", "--key=a/b", "test"],
            "! zenohsink config=origin.json5 key-expr=a/b ",
        ),
        (
            "origin",
            &["--dry-run", "--router", "[::1]", "test"],
            "endpoints: [\"tcp/[::1]:7447\"], timeout_ms",
        ),
        (
            "edge",
            &["--dry-run", "--tcp=7", "--key=cam/a/jpeg"],
            "! b64jpegserversink name=tcp0 host=127.0.0.1 port=7 ",
        ),
        (
            "edge",
            &["--dry-run", "--web=8", "--key=hall=cam/a/jpeg"],
            " port=8 sync=false async=false camera=hall",
        ),
    ];
    for (name, args, text) in cases {
        let output = script(name, args)
            .env("B64JPEG_PLUGIN_DIR", "/there is none")
            .output();
        let line = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(output.status.success(), "{line}");
        assert!(
            line.contains(" gst-launch-1.0 ") && line.contains(text),
            "{line}"
        );
    }
    assert!(!Path::new(nowhere).exists());
}

/// The printed pipeline works without the script.
#[test]
fn pipeline_of_dry_run_can_be_pasted() {
    let clip = clip();
    for fast in [false, true] {
        let port = ReservedPort::new();
        let port = port.number().to_string();
        let mut args = vec!["--dry-run", "--port", &port, &clip];
        if fast {
            args.insert(0, "--fast");
        }
        let output = script("serve", &args).output();
        let line = String::from_utf8(output.stdout).expect("UTF-8");
        let line = line
            .lines()
            .find(|line| line.contains("gst-launch-1.0"))
            .expect("a line");

        let mut bash = Command::new("bash");
        bash.args(["-c", line]);
        let mut pasted = Script::new(bash);
        pasted.command.env_remove("B64JPEG_PLUGIN_DIR");
        let mut pasted = pasted.start();
        pasted.expect("b64jpeg-waiting");
        let address = format!("127.0.0.1:{port}");
        let recording = record(&address, &format!("pasted {fast}.b64jpeg"));
        assert_eq!(frames(&recording).len(), FRAMES);
        pasted.finish();
    }
}

/// GStreamer finds the plugin in the environment that setup.sh prints.
#[test]
fn setup_prints_environment() {
    let setup = script("setup", &[]);
    let mut bash = Command::new("bash");
    bash.args(["-c", "eval \"$($0)\" && gst-inspect-1.0 b64jpegdepay"]);
    bash.arg(setup.command.get_program());
    Script::new(bash).start().finish();
}
