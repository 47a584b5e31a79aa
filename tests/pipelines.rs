// SPDX-License-Identifier: MPL-2.0

//! The scripts of `pipelines/` as people run them: real files, sockets, terminals
//! and windows, and no process left when they have ended.

mod common;

use std::{
    fs,
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use common::{
    pipeline::{Pipeline, scratch},
    process::{PATIENCE, Program},
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
        assert_eq!(processes(&self.mark), [""; 0]);
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

    fn signal(&self, signal: &str) {
        let id = self.program.id().to_string();
        let status = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(status.expect("kill starts").success());
    }

    /// Its whole output, when it has ended well and left nothing running.
    #[track_caller]
    fn finish(self) -> String {
        let output = self.program.finish();
        assert_eq!(processes(&self.mark), [""; 0]);
        output
    }
}

/// The command lines of the processes that carry the mark.
fn processes(mark: &str) -> Vec<String> {
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
            marked.then(|| String::from_utf8_lossy(&line).replace('\0', " "))
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
fn clip() -> PathBuf {
    static MADE: std::sync::Once = std::sync::Once::new();
    let path = scratch("a 'clip' \"ü\" \\ !.avi");
    MADE.call_once(|| {
        make(
            &format!(
                "videotestsrc pattern=ball num-buffers={FRAMES} \
                 ! video/x-raw,width=320,height=240,framerate=30/1 \
                 ! jpegenc ! avimux"
            ),
            &path,
        );
    });
    path
}

/// Writes what `elements` make to a file.
fn make(elements: &str, path: &Path) {
    let pipeline = Pipeline::launch(&format!("{elements} ! filesink name=file"));
    let file = pipeline.element::<gst::Element>("file");
    gst::prelude::ObjectExt::set_property(&file, "location", path.to_str().expect("UTF-8"));
    pipeline.play();
    pipeline.wait_for_clean_end();
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

fn record(address: &str, name: &str) -> Vec<u8> {
    let path = scratch(name);
    let _ = fs::remove_file(&path);
    script("record", &[address, path.to_str().expect("UTF-8")])
        .start()
        .finish();
    fs::read(path).expect("a recording")
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
    make(
        "audiotestsrc num-buffers=20 ! wavenc",
        &dir.join("sound.wav"),
    );
    make(
        "videotestsrc num-buffers=9 ! avenc_mpeg4 ! avimux",
        &dir.join("mpeg4.avi"),
    );
    let clip = clip();
    let clip = clip.to_str().expect("UTF-8");
    // Nobody listens on this one any more, on the other somebody does.
    let closed = TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a port");
    let closed = closed.to_string();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").port().to_string();

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
        ("serve", &["--port", &taken, "test"], 1, "is taken"),
        ("serve", &["--port", &taken, "--fast", clip], 1, "is taken"),
        (
            "serve",
            &["--host", "no-such-host.invalid", "test"],
            1,
            "there is no host",
        ),
        (
            "serve",
            &["--host", "192.0.2.1", "test"],
            1,
            "does not have the address",
        ),
        ("serve", &["no-such-scheme://x"], 1, "no-such-scheme"),
        ("serve", &[], 2, "exactly one SOURCE"),
        ("serve", &["--port", "99999", "test"], 2, "from 0 to 65535"),
        ("serve", &["--quality=101", "test"], 2, "from 0 to 100"),
        ("serve", &["--width"], 2, "needs a value"),
        ("serve", &["--fast", "test"], 2, "is live"),
        ("watch", &[&closed], 1, "nobody serves at"),
        ("watch", &["no-such-host.invalid"], 1, "there is no host"),
        ("watch", &["localhost:port"], 2, "is not an address"),
        (
            "record",
            &[&closed, &path("new.b64jpeg")],
            1,
            "nobody serves at",
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
            "tcpclientsrc host=::1 port=7 !",
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

/// The last frame of a paced file arrives, too.
#[test]
fn a_file_is_watched_to_its_end() {
    let clip = clip();
    let mut server = script("serve", &["--port", "0", clip.to_str().expect("UTF-8")]).start();
    let address = server.address();
    let watcher = script("watch", &["--no-display", &address]).start();
    let recording = record(&address, "paced.b64jpeg");
    let watched = watcher.finish();
    let served = server.finish();

    let recorded = frames(&recording);
    assert!((1..=FRAMES).contains(&recorded.len()), "{}", recorded.len());
    assert!(watched.contains("frames/s"), "{watched}");
    assert!(watched.contains("The stream has ended"), "{watched}");
    assert!(
        served.contains("No preview: there is no display"),
        "{served}"
    );
    assert!(served.contains("(2 clients)"), "{served}");
    assert!(served.contains("frames/s"), "{served}");
    assert!(served.contains("The video has ended."), "{served}");

    // What came last is the clip's last frame.
    let whole = served_fast(clip.to_str().expect("UTF-8"), "whole.b64jpeg");
    assert_eq!(recorded.last(), frames(&whole).last());
}

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

#[test]
fn a_recording_replays_byte_for_byte() {
    let clip = clip();
    let first = served_fast(clip.to_str().expect("UTF-8"), "a recording 'ü'.b64jpeg");
    assert_eq!(frames(&first).len(), FRAMES);
    let path = scratch("a recording 'ü'.b64jpeg");
    let path = path.to_str().expect("UTF-8");

    let mut fast = script("replay", &["--port=0", "--fast", path]).start();
    let again = record(&fast.address(), "again.b64jpeg");
    assert!(again == first, "{} and {} bytes", again.len(), first.len());
    fast.finish();

    // At its rate, from wherever the client comes in.
    let mut paced = script("replay", &["--port=0", "--framerate=60", path]).start();
    let tail = record(&paced.address(), "tail.b64jpeg");
    assert!(
        !tail.is_empty() && first.ends_with(&tail),
        "{} bytes",
        tail.len()
    );
    paced.finish();

    // Round and round, until it is told to stop.
    let mut endless = script("replay", &["--port=0", "--loop", "--framerate=200", path]).start();
    let address = endless.address();
    let rounds = scratch("rounds.b64jpeg");
    let _ = fs::remove_file(&rounds);
    let recorder = script("record", &[&address, rounds.to_str().expect("UTF-8")]).start();
    wait_until("two rounds", || {
        fs::metadata(&rounds).is_ok_and(|m| m.len() > 2 * first.len() as u64)
    });
    recorder.signal("INT");
    recorder.finish();
    endless.signal("TERM");
    endless.finish();
    let rounds = fs::read(rounds).expect("a recording");
    let all = frames(&first);
    assert!(frames(&rounds).windows(2).all(|pair| {
        let at = all
            .iter()
            .position(|frame| *frame == pair[0])
            .expect("a frame of it");
        all.contains(&pair[1]) && at < all.len()
    }));
}

/// White stays white: the source's limited range becomes the full range of JPEG.
#[test]
fn colours_are_what_jpeg_means() {
    let white = scratch("white.avi");
    make(
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

#[track_caller]
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn q_in_the_terminal_ends_it() {
    let mut server = script("serve", &["--port", "0", "test"])
        .in_terminal()
        .start();
    let mut server_keys = server.program.stdin().expect("a keyboard");
    let address = server.address();
    let file = scratch("until q.b64jpeg");
    let _ = fs::remove_file(&file);
    let viewers: [&[&str]; 2] = [
        &["watch", "--no-display", &address],
        &["record", &address, file.to_str().expect("UTF-8")],
    ];
    for words in viewers {
        let mut viewer = script(words[0], &words[1..]).in_terminal().start();
        viewer.program.expect_line("q or Ctrl-C ends it");
        server.program.expect_line("watches (1 client)");
        let mut keys = viewer.program.stdin().expect("a keyboard");
        keys.write_all(b"xq").expect("it reads");
        let output = viewer.finish();
        assert!(output.contains("Stopped by q."), "{output}");
        server.program.expect_line("left (0 clients)");
    }
    // Ctrl-C, as a terminal takes it.
    server_keys.write_all(b"\x03").expect("it reads");
    assert!(server.finish().contains("Stopped."));
    assert!(!frames(&fs::read(file).expect("a recording")).is_empty());
}

#[test]
fn a_window_ends_it() {
    let display = Display::open();
    let start = |name, args: &[&str]| script(name, args).env("DISPLAY", &display.name).start();
    let mut server = start("serve", &["--port", "0", "test"]);
    let address = server.address();
    let ends: [(&[&str], &str); 2] = [
        (&["key", "--window", "%1", "q"], "The stream has ended"),
        (&["windowclose", "%1"], "The window was closed."),
    ];
    for (action, sentence) in ends {
        let mut watcher = start("watch", &[&address]);
        server.program.expect_line("watches (1 client)");
        watcher.program.expect_line("frames/s");
        display.act_on("RECIBIDO", action);
        let output = watcher.finish();
        assert!(output.contains(sentence), "{output}");
        server.program.expect_line("left (0 clients)");
    }
    server.program.expect_line("frames/s");
    display.act_on("TRANSMITIENDO", ends[0].0);
    assert!(server.finish().contains("The video has ended"));
}

#[test]
fn a_signal_ends_it_and_leaves_nothing() {
    let clip = clip();
    let clip = clip.to_str().expect("UTF-8");
    let mut server = script("serve", &["--port", "0", "test"]).start();
    let address = server.address();
    for signal in ["INT", "TERM", "HUP"] {
        let mut fast = script("serve", &["--port", "0", "--fast", clip]).start();
        fast.address();
        let file = scratch(&format!("until {signal}.b64jpeg"));
        let _ = fs::remove_file(&file);
        let recorder = script("record", &[&address, file.to_str().expect("UTF-8")]).start();
        wait_until("a frame", || {
            fs::metadata(&file).is_ok_and(|meta| meta.len() > 0)
        });
        let mut watcher = script("watch", &["--no-display", &address]).start();
        watcher.program.expect_line("frames/s");
        for running in [fast, recorder, watcher] {
            running.signal(signal);
            running.finish();
        }
        assert!(!frames(&fs::read(file).expect("a recording")).is_empty());
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
    wait_until("the end of all", || processes(&mark).is_empty());
}

/// The line that a script prints does the same without the script.
#[test]
fn the_printed_line_can_be_pasted() {
    let clip = clip();
    let clip = clip.to_str().expect("UTF-8");
    // Any port: one that was free a moment ago.
    for fast in [false, true] {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .expect("a port");
        let port = port.port().to_string();
        let mut args = vec!["--dry-run", "--port", &port, clip];
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
        pasted.program.expect_line("PLAYING");
        let recording = record(
            &format!("127.0.0.1:{port}"),
            &format!("pasted {fast}.b64jpeg"),
        );
        assert!((1..=FRAMES).contains(&frames(&recording).len()));
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
    demo.program.expect_line("watch.sh | ");
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
