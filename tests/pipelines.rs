// SPDX-License-Identifier: MPL-2.0

//! The scripts of `pipelines/` as people run them: real files, sockets, terminals
//! and windows, and no process left when they have ended.

mod common;

use std::{
    fs,
    io::Write,
    net::TcpListener,
    path::Path,
    process::{Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use base64::prelude::*;
use common::{
    pipeline::{Pipeline, make_file, scratch},
    process::{PATIENCE, Program},
    sender::{Port, eventually},
    viewer::Viewer,
};

const SCRIPTS: [&str; 6] = ["demo", "record", "replay", "serve", "setup", "watch"];
/// Marks the environment of whatever a script starts.
const MARK: &str = "B64JPEG_TEST_RUN";
const FRAMES: usize = 90;

/// A script with the plugin that cargo built for the tests.
struct Script {
    command: Command,
    mark: String,
}

fn script(name: &str, args: &[&str]) -> Script {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("pipelines/{name}.sh"));
    let mut command = Command::new(path);
    command.args(args);
    Script::new(command)
}

impl Script {
    fn new(mut command: Command) -> Self {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let mark = format!(
            "{}-{}",
            std::process::id(),
            RUNS.fetch_add(1, Ordering::Relaxed)
        );
        common::process::with_plugin(&mut command)
            .env_remove("GST_PLUGIN_PATH")
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY")
            .env("B64JPEG_PLUGIN_DIR", common::plugin_dir())
            .env(MARK, &mark)
            .stdin(Stdio::null());
        Self { command, mark }
    }

    fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// The script at the keyboard of a terminal.
    fn in_terminal(self) -> Self {
        // Not every shell replaces itself by its last command.
        let line = format!("exec {}", shell_words(&self.command));
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        for (name, value) in self.command.get_envs().filter(|(name, _)| *name != MARK) {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut terminal = Self { command, ..self };
        terminal
            .command
            .env(MARK, &terminal.mark)
            .stdin(Stdio::piped());
        terminal
    }

    #[track_caller]
    fn start(mut self) -> Running {
        let program = Program::start(&mut self.command);
        Running {
            program,
            mark: self.mark,
        }
    }

    /// Runs to the end; for what ends at once.
    fn output(self) -> Output {
        let mut command = Command::new("timeout");
        command.arg(PATIENCE.as_secs().to_string());
        command
            .arg(self.command.get_program())
            .args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let output = command.stdin(Stdio::null()).output().expect("it starts");
        assert_eq!(processes(&self.mark), []);
        output
    }
}

struct Running {
    program: Program,
    mark: String,
}

impl Running {
    /// Waits until a server listens; returns its address.
    #[track_caller]
    fn address(&mut self) -> String {
        let line = self.program.expect_line("; watch it");
        let (_, rest) = line.rsplit_once(" at ").expect("an address");
        rest.split(';').next().expect("an end").to_owned()
    }

    /// A viewer of what it serves.
    #[track_caller]
    fn viewer(&mut self) -> Viewer {
        Viewer::connect(self.address().parse().expect("an address"))
    }

    #[track_caller]
    fn expect(&mut self, text: &str) {
        self.program.expect_line(text);
    }

    fn signal(&self, signal: &str) {
        kill(self.program.id(), signal);
    }

    /// Ends the pipeline that the script runs, as the kernel does when memory is short.
    #[track_caller]
    fn kill_pipeline(&self) {
        let mut pipelines = processes(&self.mark);
        pipelines.retain(|(_, line)| line.starts_with("gst-launch-1.0 "));
        let [(id, _)] = pipelines[..] else {
            panic!("one pipeline: {pipelines:?}");
        };
        kill(id, "KILL");
    }

    /// How it has ended, which leaves nothing running, and its whole output.
    #[track_caller]
    fn wait(self) -> (ExitStatus, String) {
        let ended = self.program.wait();
        assert_eq!(processes(&self.mark), []);
        ended
    }

    /// Its whole output, when it has ended well.
    #[track_caller]
    fn finish(self) -> String {
        let (status, output) = self.wait();
        assert!(status.success(), "{status}; it printed:\n{output}");
        output
    }
}

fn kill(id: u32, signal: &str) {
    let status = Command::new("kill")
        .args(["-s", signal, &id.to_string()])
        .status();
    assert!(status.expect("kill starts").success());
}

/// The ids and command lines of the processes that carry the mark.
fn processes(mark: &str) -> Vec<(u32, String)> {
    let entry = format!("{MARK}={mark}");
    let processes = fs::read_dir("/proc").expect("Linux");
    processes
        .filter_map(|process| {
            let path = process.ok()?.path();
            let environment = fs::read(path.join("environ")).ok()?;
            let marked = environment
                .split(|byte| *byte == 0)
                .any(|e| e == entry.as_bytes());
            let line = fs::read(path.join("cmdline")).ok()?;
            let id = path.file_name()?.to_str()?.parse().ok()?;
            marked.then(|| (id, String::from_utf8_lossy(&line).replace('\0', " ")))
        })
        .collect()
}

fn shell_words(command: &Command) -> String {
    [command.get_program()]
        .into_iter()
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_str().expect("UTF-8").replace('\'', r"'\''")))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A video with a name that needs quoting everywhere.
fn clip() -> String {
    static MADE: std::sync::Once = std::sync::Once::new();
    let path = scratch("a 'clip' \"ü\" \\ !.avi");
    MADE.call_once(|| {
        make_file(
            &format!(
                "videotestsrc pattern=ball num-buffers={FRAMES} \
                 ! video/x-raw,width=320,height=240,framerate=30/1 \
                 ! jpegenc ! avimux"
            ),
            &path,
        );
    });
    path.to_str().expect("UTF-8").to_owned()
}

/// The frames of a recording, in the wire's default framing.
fn frames(recording: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    let mut rest = recording;
    while let Some((length, after)) = rest.split_first_chunk() {
        let (frame, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        frames.push(frame);
        rest = after;
    }
    assert!(rest.is_empty(), "it ends with a whole frame");
    frames
}

/// The JPEGs of a recording, without the stamps of the time.
fn pictures(recording: &[u8]) -> Vec<Vec<u8>> {
    let jpeg = |frame| BASE64_STANDARD.decode(frame).expect("base64");
    let frames = frames(recording).into_iter();
    frames.map(|frame| unstamped(jpeg(frame))).collect()
}

/// A JPEG without the comment that may follow its first marker.
fn unstamped(mut jpeg: Vec<u8>) -> Vec<u8> {
    if let [_, _, 0xff, 0xfe, high, low, ..] = jpeg[..] {
        jpeg.drain(2..4 + usize::from(u16::from_be_bytes([high, low])));
    }
    jpeg
}

/// A file that is not there yet.
fn fresh(name: &str) -> String {
    let path = scratch(name);
    let _ = fs::remove_file(&path);
    path.to_str().expect("UTF-8").to_owned()
}

fn size(path: &str) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

/// Records a stream until it ends.
#[track_caller]
fn record(address: &str, name: &str) -> Vec<u8> {
    let path = fresh(name);
    script("record", &["--once", address, &path])
        .start()
        .finish();
    fs::read(path).expect("a recording")
}

/// What a single viewer gets of a file, all of it, as fast as possible.
#[track_caller]
fn served_fast(clip: &str, name: &str) -> Vec<u8> {
    let ipv6 = TcpListener::bind("[::1]:0").is_ok();
    let host = if ipv6 { "::1" } else { "localhost" };
    let args = ["--fast", "--host", host, "--port=0", clip];
    let mut server = script("serve", &args).start();
    let recording = record(&server.address(), name);
    let output = server.finish();
    assert!(output.contains("The video has ended."), "{output}");
    recording
}

/// A server that says `greeting` to everybody.
fn greeter(greeting: &'static [u8]) -> String {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("an address").to_string();
    // It ends with the tests.
    thread::spawn(move || {
        let mut guests = Vec::new();
        for mut guest in server.incoming().flatten() {
            let _ = guest.write_all(greeting);
            guests.push(guest);
        }
    });
    address
}

/// An X server without a window manager.
struct Display {
    _server: Program,
    name: String,
}

impl Display {
    fn open() -> Self {
        let mut command = Command::new("Xvfb");
        command.args([
            "-displayfd",
            "1",
            "-screen",
            "0",
            "1280x720x24",
            "-nolisten",
            "tcp",
        ]);
        let mut server = Program::start(&mut command);
        let number = loop {
            let line = server.expect_line("");
            if line.parse::<u32>().is_ok() {
                break line;
            }
        };
        Self {
            _server: server,
            name: format!(":{number}"),
        }
    }

    fn xdotool(&self, args: &[&str]) {
        let mut command = Command::new("timeout");
        command
            .arg(PATIENCE.as_secs().to_string())
            .arg("xdotool")
            .args(args);
        let output = command
            .env("DISPLAY", &self.name)
            .output()
            .expect("xdotool");
        assert!(output.status.success(), "{args:?}: {output:?}");
    }

    /// Does something to the window of that title, once it is there.
    fn act_on(&self, title: &str, action: &[&str]) {
        let mut command = vec!["search", "--sync", "--onlyvisible", "--name", title];
        command.extend(action);
        self.xdotool(&command);
    }
}

#[test]
fn every_script_explains_itself() {
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

/// What goes wrong, and a part of the one sentence that says so.
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
    // Nobody listens on this one, on the other somebody does.
    let keeper = Port::new();
    let closed = format!("127.0.0.1:{}", keeper.number());
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").port().to_string();

    let ssh = greeter(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n");
    let pickle = greeter(b"\0\0\0\x40\x80\x04\x95\x35\0\0\0\0\0\0\0\x8c\x16numpy.core.multiarray");
    let (noise, nothing, sound) = (path("noise.mp4"), path("nothing.mp4"), path("sound.wav"));
    let (missing, directory) = (path("missing.mp4"), path("empty"));
    let (inside_missing, mpeg4) = (path("missing/x.b64jpeg"), path("mpeg4.avi"));
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
        ("setup", &["--nonsense"], 2, "there is no option"),
        ("demo", &["--nonsense"], 2, "there is no option"),
    ];
    let check = |script: Script, status: i32, text: &str| {
        let what = shell_words(&script.command);
        let output = script.output();
        let errors = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(status), "{what}: {errors}");
        assert!(errors.contains(text), "{what}: {errors}");
        // A parser may have warned of the first bad frame on the way.
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
    assert!(!Path::new(&path("new.b64jpeg")).exists(), "nothing came");
}

#[test]
fn a_dry_run_prints_the_line_and_does_nothing() {
    let nowhere = scratch("not-written.b64jpeg");
    let nowhere = nowhere.to_str().expect("UTF-8");
    let cases: [(&str, &[&str], &str); 4] = [
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

/// The usual program that reads lengths and pictures: it gets all of them and ends well,
/// and so does the server.
#[test]
fn a_file_waits_for_its_first_viewer() {
    let clip = clip();
    let mut server = script("serve", &["--port", "0", &clip]).start();
    let viewer = server.viewer();
    let paced: Vec<_> = viewer.map(unstamped).collect();
    let output = server.finish();
    for text in [
        "No preview: there is no display",
        "It begins with the first viewer",
        "watches (1 client)",
        "frames/s",
        "The video has ended.",
    ] {
        assert!(output.contains(text), "{text}: {output}");
    }
    assert_eq!(paced.len(), FRAMES);
    assert!(paced == pictures(&served_fast(&clip, "whole.b64jpeg")));
}

/// Whoever comes later gets the rest, to the last frame.
#[test]
fn a_file_is_watched_to_its_end() {
    let mut server = script("serve", &["--port", "0", &clip()]).start();
    let address = server.address();
    let watcher = script("watch", &["--once", "--no-display", &address]).start();
    server.expect("watches (1 client)");
    let first = Viewer::connect(address.parse().expect("an address"));
    server.expect("watches (2 clients)");
    let second = Viewer::connect(address.parse().expect("an address"));
    let second = thread::spawn(|| second.map(unstamped).collect::<Vec<_>>());
    let first: Vec<_> = first.map(unstamped).collect();
    let second = second.join().expect("it reads to the end");
    assert!(!second.is_empty() && first.ends_with(&second));
    let watched = watcher.finish();
    assert!(watched.contains("frames/s"), "{watched}");
    assert!(watched.contains("The stream has ended"), "{watched}");
    let served = server.finish();
    assert!(served.contains("(3 clients)"), "{served}");
    assert!(served.contains("(0 clients)"), "{served}");
}

/// One too many is turned away, and comes in when there is room.
#[test]
fn no_more_clients_than_wanted() {
    let mut server = script("serve", &["--port=0", "--clients=1", "test"]).start();
    let address = server.address();
    let connect = || Viewer::connect(address.parse().expect("an address"));
    let mut first = connect();
    assert!(first.next().is_some());
    assert_eq!(connect().bytes_until_closed(), b"");
    let mut second = script("watch", &["--no-display", &address]).start();
    second.expect("gives no pictures");
    assert!(first.next().is_some());
    drop(first);
    server.expect("left (0 clients)");
    second.expect("Watching");
    second.signal("INT");
    let output = second.finish();
    assert_eq!(output.matches("gives no pictures").count(), 1, "{output}");
    server.signal("INT");
    let output = server.finish();
    assert!(!output.contains("(2 clients)"), "{output}");
}

#[test]
fn a_file_begins_again() {
    let clip = scratch("short.avi");
    make_file("videotestsrc num-buffers=9 ! jpegenc ! avimux", &clip);
    let clip = clip.to_str().expect("UTF-8");
    let all = pictures(&served_fast(clip, "short.b64jpeg"));
    let mut server = script("serve", &["--port=0", "--loop", clip]).start();
    let viewer = server.viewer().map(unstamped);
    let rounds: Vec<_> = viewer.take(3 * all.len() + 1).collect();
    assert!(rounds.iter().eq(all.iter().cycle().take(rounds.len())));
    server.signal("INT");
    server.finish();
}

#[test]
fn a_recording_replays_byte_for_byte() {
    let first = served_fast(&clip(), "a recording 'ü'.b64jpeg");
    let first = frames(&first);
    assert_eq!(first.len(), FRAMES);
    let path = scratch("a recording 'ü'.b64jpeg");
    let path = path.to_str().expect("UTF-8");
    for options in [
        ["--fast", "--framerate=1"],
        ["--clients=3", "--framerate=60"],
    ] {
        let mut server = script("replay", &[&["--port=0", path], &options[..]].concat()).start();
        let again = record(&server.address(), "again.b64jpeg");
        assert!(frames(&again) == first, "{options:?}");
        server.finish();
    }

    // Round and round, until it is told to stop.
    let mut endless = script("replay", &["--port=0", "--loop", "--framerate=200", path]).start();
    let path = fresh("rounds.b64jpeg");
    let recorder = script("record", &[&endless.address(), &path]).start();
    let round = first
        .iter()
        .map(|frame| 4 + frame.len() as u64)
        .sum::<u64>();
    eventually("two rounds", || (size(&path) > 2 * round).then_some(()));
    recorder.signal("INT");
    recorder.finish();
    endless.signal("TERM");
    endless.finish();
    let rounds = fs::read(path).expect("a recording");
    let rounds = frames(&rounds);
    assert!(rounds.iter().eq(first.iter().cycle().take(rounds.len())));
}

/// White stays white: the source's limited range becomes the full range of JPEG.
#[test]
fn colours_are_what_jpeg_means() {
    let white = scratch("white.avi");
    make_file(
        "videotestsrc pattern=white num-buffers=5 ! avenc_mpeg4 ! avimux",
        &white,
    );
    served_fast(white.to_str().expect("UTF-8"), "white.b64jpeg");
    let player =
        Pipeline::launch("filesrc name=file ! b64jpegdepay ! jpegdec name=decoder ! fakesink");
    let file = player.element::<gst::Element>("file");
    gst::prelude::ObjectExt::set_property(&file, "location", scratch("white.b64jpeg").to_str());
    let pictures = player.collect("decoder", "src");
    player.play();
    player.wait_for_clean_end();
    // The first byte of a picture is its first pixel's luma; limited white is 235.
    let luma: Vec<u8> = pictures.take().iter().map(|picture| picture[0]).collect();
    assert_eq!(luma.len(), 5);
    assert!(luma.iter().all(|luma| *luma > 250), "{luma:?}");
}

/// The server is killed under its viewers and started again, twice.
#[test]
fn a_server_that_is_not_there_is_awaited() {
    let port = Port::new();
    let port = port.number().to_string();
    let address = format!("127.0.0.1:{port}");
    let path = fresh("with gaps.b64jpeg");
    let mut watcher = script("watch", &["--no-display", &address]).start();
    let mut recorder = script("record", &[&address, &path]).start();
    watcher.expect("is not there");
    recorder.expect("is not there");
    for _ in 0..2 {
        let server = script("serve", &["--port", &port, "test"]).start();
        watcher.expect("frames/s");
        let before = size(&path);
        eventually("a recording", || (size(&path) > before).then_some(()));
        server.kill_pipeline();
        let (status, output) = server.wait();
        assert_eq!(status.code(), Some(1), "{output}");
        assert!(
            output.contains("gst-launch-1.0 failed with status 137"),
            "{output}"
        );
        watcher.expect("has gone");
        recorder.expect("has gone");
    }
    for viewer in [watcher, recorder] {
        viewer.signal("INT");
        let output = viewer.finish();
        // Each change is told once, however often the server was asked.
        let count = |what| output.matches(&format!("{address} {what}")).count();
        assert_eq!(count("is not there"), 1, "{output}");
        assert_eq!(count("is back"), 1, "{output}");
        assert_eq!(count("has gone"), 2, "{output}");
    }
    assert!(!frames(&fs::read(path).expect("a recording")).is_empty());
}

#[test]
fn the_delay_of_stamped_pictures() {
    let mut server = script("serve", &["--port", "0", "test"]).start();
    let args = ["--delay", "--no-display", &server.address()];
    let mut watcher = script("watch", &args).start();
    watcher.expect("as their clocks");
    let line = watcher.program.expect_line(", delay ");
    let (rate, delay) = line.split_once(", delay ").expect("both in one line");
    assert!(rate.contains("frames/s"), "{line}");
    let (median, worst) = delay.split_once(" ms (99 %: ").expect("two numbers");
    let number = |text: &str| text.parse::<f64>().expect("a number");
    // One machine has one clock.
    assert!(number(median) >= 0.0, "{line}");
    assert!(
        number(worst.trim_end_matches(" ms)")) >= number(median),
        "{line}"
    );
    watcher.signal("INT");
    watcher.finish();
    server.signal("INT");
    server.finish();

    let path = scratch("unstamped.b64jpeg");
    make_file("videotestsrc num-buffers=9 ! jpegenc ! b64jpegpay", &path);
    let args = ["--port=0", "--loop", path.to_str().expect("UTF-8")];
    let mut server = script("replay", &args).start();
    let args = ["--delay", "--no-display", &server.address()];
    let mut watcher = script("watch", &args).start();
    watcher.expect("tell no time of capture");
}

#[test]
fn q_in_the_terminal_ends_it() {
    let mut server = script("serve", &["--port", "0", "test"])
        .in_terminal()
        .start();
    let mut server_keys = server.program.stdin().expect("a keyboard");
    let address = server.address();
    let keeper = Port::new();
    let nobody = format!("127.0.0.1:{}", keeper.number());
    let (some, none) = (fresh("until q.b64jpeg"), fresh("nothing.b64jpeg"));
    let clip = clip();
    let cases: [(&[&str], &str); 5] = [
        (&["watch", "--no-display", &address], "Watching"),
        (&["record", "--force", &address, &some], "Recording"),
        (&["watch", "--no-display", &nobody], "is not there"),
        (&["record", &nobody, &none], "is not there"),
        (
            &["serve", "--port=0", &clip],
            "It begins with the first viewer",
        ),
    ];
    for (words, reached) in cases {
        for keys in [&b"xq"[..], b"\x03"] {
            let mut running = script(words[0], &words[1..]).in_terminal().start();
            running.expect("q or Ctrl-C ends it");
            running.expect(reached);
            // Once there is something to end.
            if words.contains(&&*some) {
                eventually("a frame", || (size(&some) > 0).then_some(()));
            }
            let mut keyboard = running.program.stdin().expect("a keyboard");
            keyboard.write_all(keys).expect("it reads");
            let output = running.finish();
            let sentence = if keys == b"\x03" {
                "Stopped."
            } else {
                "Stopped by q."
            };
            assert!(output.contains(sentence), "{output}");
        }
    }
    assert!(!frames(&fs::read(some).expect("a recording")).is_empty());
    assert!(!Path::new(&none).exists(), "nothing came");
    server_keys.write_all(b"\x03").expect("it reads");
    assert!(server.finish().contains("Stopped."));
}

#[test]
fn a_window_ends_it() {
    let display = Display::open();
    let start = |name, args: &[&str]| script(name, args).env("DISPLAY", &display.name).start();
    let q = ["key", "--window", "%1", "q"];
    let close = ["windowclose", "%1"];
    let closed = "The window was closed.";

    let mut server = start("serve", &["--port", "0", "test"]);
    let address = server.address();
    for (action, sentence) in [(&q[..], "Stopped by q."), (&close, closed)] {
        let mut watcher = start("watch", &[&address]);
        watcher.expect("Watching");
        watcher.expect("frames/s");
        display.act_on("RECIBIDO", action);
        let output = watcher.finish();
        assert!(output.contains(sentence), "{output}");
        server.expect("left (0 clients)");
    }
    server.expect("frames/s");
    display.act_on("TRANSMITIENDO", &q);
    let output = server.finish();
    assert!(output.contains("q was pressed"), "{output}");

    // While a file waits, its first frame is shown; nothing is drawn that would notice
    // that the window is no more.
    let kill = ["windowkill", "%1"];
    for (action, sentence) in [(&q[..], "q was pressed"), (&kill, closed)] {
        let mut server = start("serve", &["--port", "0", &clip()]);
        server.expect("It begins with the first viewer");
        display.act_on("TRANSMITIENDO", action);
        let output = server.finish();
        assert!(output.contains(sentence), "{output}");
    }

    // While the server is away, its last frame is.
    let mut server = start("serve", &["--port", "0", "--no-preview", "test"]);
    let mut watcher = start("watch", &[&server.address()]);
    watcher.expect("frames/s");
    server.signal("INT");
    server.finish();
    watcher.expect("has gone");
    display.act_on("RECIBIDO", &q);
    let output = watcher.finish();
    assert!(output.contains("Stopped by q."), "{output}");
}

#[test]
fn a_signal_ends_it_and_leaves_nothing() {
    let clip = clip();
    let mut server = script("serve", &["--port", "0", "test"]).start();
    let address = server.address();
    for signal in ["INT", "TERM", "HUP"] {
        // One waits for its first viewer, one for a viewer that reads.
        let mut waiting = script("serve", &["--port", "0", &clip]).start();
        waiting.expect("It begins with the first viewer");
        let mut fast = script("serve", &["--port", "0", "--fast", &clip]).start();
        let idle = fast.viewer();
        fast.expect("watches (1 client)");
        let path = fresh(&format!("until {signal}.b64jpeg"));
        let recorder = script("record", &[&address, &path]).start();
        eventually("a frame", || (size(&path) > 0).then_some(()));
        let mut watcher = script("watch", &["--no-display", &address]).start();
        watcher.expect("frames/s");
        for running in [waiting, fast, recorder, watcher] {
            running.signal(signal);
            running.finish();
        }
        drop(idle);
        assert!(!frames(&fs::read(path).expect("a recording")).is_empty());
    }
    server.signal("TERM");
    server.finish();
}

/// Even the signal that a script cannot answer ends what it has started.
#[test]
fn a_killed_script_leaves_nothing() {
    let mut server = script("serve", &["--port", "0", "test"]).start();
    server.address();
    server.signal("KILL");
    let mark = server.mark.clone();
    eventually("the end of all", || {
        processes(&mark).is_empty().then_some(())
    });
}

/// The line that a script prints does the same without the script.
#[test]
fn the_printed_line_can_be_pasted() {
    let clip = clip();
    for fast in [false, true] {
        let port = Port::new();
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

#[test]
fn the_demo_runs_without_a_display() {
    let output = script("demo", &[]).start().finish();
    for text in [
        "serve.sh | No preview: there is no display",
        "watch.sh | No window: there is no display",
        "watches (1 client)",
        "watch.sh | The stream has ended",
        "serve.sh | The video has ended.",
        "The demo has ended.",
    ] {
        assert!(output.contains(text), "{text}: {output}");
    }
    for end in ["serve.sh | ", "watch.sh | "] {
        let rate = |line: &&str| line.starts_with(end) && line.contains("frames/s");
        assert!(output.lines().filter(rate).count() > 1, "{end}: {output}");
    }
}

#[test]
fn the_demo_opens_two_windows() {
    let display = Display::open();
    let mut demo = script("demo", &[]).env("DISPLAY", &display.name).start();
    demo.expect("watch.sh | ");
    display.act_on("TRANSMITIENDO", &["getwindowgeometry"]);
    display.act_on("RECIBIDO", &["key", "--window", "%1", "q"]);
    assert!(demo.finish().contains("The demo has ended."));
}

/// The environment that setup.sh prints is one in which GStreamer finds the plugin.
#[test]
fn setup_prints_the_environment() {
    let setup = script("setup", &[]);
    let mut bash = Command::new("bash");
    bash.args(["-c", "eval \"$($0)\" && gst-inspect-1.0 b64jpegdepay"]);
    bash.arg(setup.command.get_program());
    Script::new(bash).start().finish();
}
