// SPDX-License-Identifier: MPL-2.0

//! Makes every method and thread of every element panic.
//!
//! The cases are read from the sources: each `panics::guard` and `panics::catch` of an element is
//! one. A method without such a call must be listed in [`CONSTANT`].

use std::{
    collections::BTreeSet,
    env, fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    panic,
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, Once,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use b64jpeg_net::sync::lock;
use gst::glib;

use super::*;

/// Longest wait; only a hang exceeds it.
const PATIENCE: Duration = Duration::from_secs(60);
/// The text of the panics.
const TEXT: &str = "on purpose";

const JPEG: &[u8] = include_bytes!("../../../tests/vectors/grey.jpg");

/// Methods that only return constants, and `constructed`: there is no bus yet that could report
/// a panic.
const CONSTANT: [&str; 8] = [
    "constructed",
    "is_seekable",
    "metadata",
    "negotiate",
    "pad_templates",
    "properties",
    "protocols",
    "signals",
];

/// Functions whose closures C code calls without catching panics.
const CALLBACKS: [&str; 5] = [
    "add_probe(",
    "call_async(",
    "chain_function(",
    "event_function(",
    "query_function(",
];

/// The elements, their sources, and the names of their threads and callbacks.
const ELEMENTS: &[(&str, &str, &[&str])] = &[
    (
        "b64jpegpay",
        include_str!("../../elements/b64jpegpay/imp.rs"),
        &["on_key"],
    ),
    (
        "b64jpegdepay",
        include_str!("../../elements/b64jpegdepay/imp.rs"),
        &["on_key"],
    ),
    (
        "b64jpegclientsrc",
        include_str!("../../elements/b64jpegclientsrc/imp.rs"),
        &["on_key"],
    ),
    (
        "b64jpegserversink",
        concat!(
            include_str!("../../elements/b64jpegserversink/imp.rs"),
            include_str!("../../elements/b64jpegserversink/end_of_stream.rs"),
        ),
        &["I/O thread"],
    ),
    (
        "jfifconvert",
        include_str!("../../elements/jfifconvert/imp.rs"),
        &[],
    ),
    (
        "jpegcheck",
        include_str!("../../elements/jpegcheck/imp.rs"),
        &[],
    ),
    #[cfg(feature = "web")]
    (
        "socketioclientsink",
        include_str!("../../elements/socketioclientsink/imp.rs"),
        &["connection task"],
    ),
    #[cfg(feature = "web")]
    (
        "socketioclientsrc",
        include_str!("../../elements/socketioclientsrc/imp.rs"),
        &["connection task", "on_key"],
    ),
    #[cfg(feature = "web")]
    (
        "socketioserversink",
        include_str!("../../elements/socketioserversink/imp.rs"),
        &[],
    ),
];

/// Elements, by name, and the method of each that must panic.
static ARMED: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

fn armed() -> MutexGuard<'static, Vec<(String, String)>> {
    lock(&ARMED)
}

/// Panics if `method` of the element must panic.
pub fn provoke(element: &gst::Element, method: &str) {
    let name = element.name();
    let wanted = armed().iter().any(|(n, m)| *n == name && m == method);
    assert!(!wanted, "{TEXT}");
}

/// As [`provoke`], but only the first time.
pub fn provoke_once(element: &gst::Element, method: &str) {
    let name = element.name();
    let wanted = {
        let armed = &mut *armed();
        let position = armed.iter().position(|(n, m)| *n == name && m == method);
        position.map(|position| armed.swap_remove(position))
    };
    assert!(wanted.is_none(), "{TEXT}");
}

fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        gst::init().expect("GStreamer starts");
        crate::plugin_register_static().expect("our plugin registers");
        // As with G_DEBUG=fatal-warnings.
        glib::log_set_always_fatal(
            glib::LogLevels::LEVEL_ERROR
                | glib::LogLevels::LEVEL_CRITICAL
                | glib::LogLevels::LEVEL_WARNING,
        );
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if text(info.payload()) != TEXT {
                hook(info);
            }
        }));
    });
}

/// The methods, threads and callbacks of an element that catch panics.
fn cases(factory: &str) -> BTreeSet<&'static str> {
    let (_, source, others) = ELEMENTS
        .iter()
        .find(|(name, ..)| *name == factory)
        .expect("it is listed");
    let mut cases: BTreeSet<_> = others.iter().copied().collect();
    for call in ["panics::guard(", "panics::catch("] {
        for (_, rest) in source
            .match_indices(call)
            .map(|(at, _)| source.split_at(at))
        {
            cases.extend(rest.split('"').nth(1));
        }
    }
    cases
}

#[test]
fn every_method_and_callback_catches_panics() {
    for (factory, source, _) in ELEMENTS {
        let mut implementing = false;
        let mut lines = source.lines();
        while let Some(line) = lines.next() {
            if line.starts_with("impl ") {
                implementing = line.contains("Impl for ");
            } else if line == "}" {
                implementing = false;
            }
            let Some(method) = line.strip_prefix("    fn ").filter(|_| implementing) else {
                continue;
            };
            let (method, _) = method.split_once('(').expect("a function");
            let body: Vec<_> = lines.by_ref().take_while(|line| *line != "    }").collect();
            assert!(
                CONSTANT.contains(&method) || body.iter().any(|line| line.contains("panics::")),
                "{factory}: `{method}` does not catch panics"
            );
        }
    }
    let others = [("quit_key", include_str!("../quit_key.rs"), &[][..])];
    for (name, source, _) in ELEMENTS.iter().chain(&others) {
        for callback in CALLBACKS {
            for (at, _) in source.match_indices(callback) {
                let (body, _) = source[at..]
                    .split_once("\n    }")
                    .expect("its function ends");
                assert!(body.contains("panics::"), "{name}: {callback} does not");
            }
        }
    }
}

/// Sends pictures to each client that connects, until it disconnects.
fn sender() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let text = glib::base64_encode(JPEG);
                let len = (text.len() as u32).to_be_bytes();
                let frame = [&len, text.as_bytes()].concat();
                while stream.write_all(&frame).is_ok() {
                    thread::sleep(Duration::from_millis(2));
                }
            });
        }
    });
    port
}

/// Writes a file with `frames` frames, for one fixture.
fn file(name: &str, frames: usize) -> PathBuf {
    let path = env::temp_dir().join(format!("{name}-{}.b64jpeg", std::process::id()));
    let text = glib::base64_encode(JPEG);
    let len = (text.len() as u32).to_be_bytes();
    let frame = [&len, text.as_bytes()].concat();
    fs::write(&path, frame.repeat(frames)).expect("a file");
    path
}

/// A pipeline, stopped when it is dropped.
struct Pipeline(gst::Pipeline);

impl Drop for Pipeline {
    fn drop(&mut self) {
        let _ = self.0.set_state(gst::State::Null);
    }
}

impl Pipeline {
    fn launch(line: &str) -> Self {
        let pipeline = gst::parse::launch(line).unwrap_or_else(|err| panic!("{line}: {err}"));
        let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
        // The messages are read after the pipeline has returned to NULL.
        pipeline.set_auto_flush_bus(false);
        if let Some(feed) = pipeline.by_name("feed") {
            let feed = feed.downcast::<gst_app::AppSrc>().expect("an appsrc");
            let number = AtomicUsize::new(0);
            let callbacks = gst_app::AppSrcCallbacks::builder().need_data(move |feed, _| {
                thread::sleep(Duration::from_millis(2));
                let number = number.fetch_add(1, Ordering::Relaxed) as u64;
                let mut buffer = gst::Buffer::from_slice(JPEG);
                let time = number * 40 * gst::ClockTime::MSECOND;
                buffer.get_mut().expect("it is new").set_pts(time);
                let _ = feed.push_buffer(buffer);
            });
            feed.set_callbacks(callbacks.build());
        }
        Self(pipeline)
    }

    fn element(&self, name: &str) -> gst::Element {
        self.0.by_name(name).expect("it is there")
    }

    fn set_state(&self, state: gst::State) {
        let (sender, done) = mpsc::channel();
        let pipeline = self.0.clone();
        thread::spawn(move || {
            let _ = pipeline.set_state(state);
            let _ = sender.send(());
        });
        let done = done.recv_timeout(PATIENCE);
        assert!(done.is_ok(), "it hangs on its way to {state:?}");
    }

    /// Discards the messages so far.
    fn forget(&self) {
        let bus = self.0.bus().expect("a bus");
        while bus.pop().is_some() {}
    }

    /// The first error, if one is posted within `patience`.
    fn error(&self, patience: Duration) -> Option<String> {
        let bus = self.0.bus().expect("a bus");
        let patience = gst::ClockTime::try_from(patience).expect("not so long");
        let message = bus.timed_pop_filtered(patience, &[gst::MessageType::Error])?;
        match message.view() {
            gst::MessageView::Error(error) => Some(error.error().message().into()),
            _ => None,
        }
    }
}

/// An element in a pipeline, and the server that it needs.
struct PanicFixture {
    pipeline: Pipeline,
    name: String,
    /// The values of the writable properties.
    values: Vec<(String, glib::Value)>,
    file: Option<PathBuf>,
    _server: Option<Pipeline>,
}

impl Drop for PanicFixture {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            let _ = fs::remove_file(file);
        }
    }
}

impl PanicFixture {
    fn new(factory: &str, method: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        init();
        let name = format!("{factory}-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        const FEED: &str = "appsrc name=feed format=time caps=image/jpeg";
        let element = format!("{factory} name={name}");
        let (mut server, mut file) = (None, None);
        let mut relay = || {
            let line = format!("{FEED} ! socketioserversink name=server port=0 sync=false");
            let pipeline = Pipeline::launch(&line);
            pipeline.set_state(gst::State::Playing);
            let port = pipeline.element("server").property::<i32>("current-port");
            server = Some(pipeline);
            format!("url=http://127.0.0.1:{port}")
        };
        let line = match factory {
            "b64jpegpay" | "jpegcheck" => format!("{FEED} ! {element} ! fakesink name=end"),
            "b64jpegdepay" => format!("{FEED} ! b64jpegpay ! {element} ! fakesink name=end"),
            "jfifconvert" => format!(
                "videotestsrc ! video/x-raw,format=RGB,width=64,height=48 ! {element} \
                 ! fakesink name=end"
            ),
            "b64jpegclientsrc" => {
                format!(
                    "{element} host=127.0.0.1 port={} ! fakesink name=end",
                    sender()
                )
            }
            "b64jpegserversink" => {
                // The end is handed over only if the pipeline plays by then: a longer file.
                let frames = if method == "hand_over" { 5000 } else { 5 };
                let path = file.insert(self::file(&name, frames));
                format!("filesrc location={path:?} ! b64jpegdepay ! {element} port=0 loop=true")
            }
            "socketioclientsrc" => format!("{element} {} ! fakesink name=end", relay()),
            "socketioclientsink" => format!("{FEED} ! {element} {} sync=false", relay()),
            "socketioserversink" => format!("{FEED} ! {element} port=0 sync=false"),
            _ => panic!("no fixture with {factory}"),
        };
        let pipeline = Pipeline::launch(&line);
        let element = pipeline.element(&name);
        if element.find_property("quit-key").is_some() {
            element.set_property("quit-key", "q");
        }
        let writable = |pspec: &&glib::ParamSpec| {
            pspec.owner_type() == element.type_()
                && pspec.flags().contains(glib::ParamFlags::WRITABLE)
        };
        let properties = element.list_properties();
        let values = properties.iter().filter(writable).map(|pspec| {
            let value = element.property_value(pspec.name());
            (pspec.name().into(), value)
        });
        Self {
            values: values.collect(),
            pipeline,
            name,
            file,
            _server: server,
        }
    }

    /// Calls the methods of the element by using it, until there is an error.
    fn expect_error(&self) -> String {
        let element = self.pipeline.element(&self.name);
        let end = self.pipeline.0.by_name("end");
        let sink_pad = end.as_ref().unwrap_or(&element).static_pad("sink");
        let mut clients = Vec::new();
        let mut connect = || {
            // Servers are connected to.
            if element.find_property("current-port").is_some() {
                let port = element.property::<i32>("current-port") as u16;
                clients.extend(TcpStream::connect((Ipv4Addr::LOCALHOST, port)));
                for client in &mut clients {
                    let _ =
                        client.write_all(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n");
                }
            }
        };
        let properties = || {
            for (name, value) in &self.values {
                element.property_value(name);
                element.set_property_from_value(name, value);
            }
        };
        let uri = || {
            if let Some(handler) = element.dynamic_cast_ref::<gst::URIHandler>() {
                let uri = handler.uri();
                let _ = handler.set_uri(uri.as_deref().unwrap_or("b64jpeg://localhost"));
            }
        };
        let query = || {
            let mut latency = gst::query::Latency::new();
            self.pipeline.0.query(&mut latency);
            if let Some(pad) = &sink_pad {
                pad.peer_query(&mut latency);
            }
        };
        let pause = || {
            self.pipeline.set_state(gst::State::Paused);
            self.pipeline.set_state(gst::State::Playing);
        };
        let key = || {
            let event = gst_video::NavigationEvent::new_key_press("q").build();
            if let Some(pad) = &sink_pad {
                pad.push_event(event);
            }
        };
        let end = || {
            element.send_event(gst::event::Eos::new());
        };
        let stop = || self.pipeline.set_state(gst::State::Null);
        let nudges: [&mut dyn FnMut(); 8] = [
            &mut connect,
            &mut { properties },
            &mut { uri },
            &mut { query },
            &mut { pause },
            &mut { key },
            &mut { end },
            &mut { stop },
        ];
        for nudge in nudges {
            if let Some(error) = self.pipeline.error(Duration::from_millis(200)) {
                return error;
            }
            nudge();
        }
        let error = self.pipeline.error(Duration::from_millis(200));
        error.expect("an error is on the bus")
    }
}

/// Makes a method of an element panic. There is an error that says so, and the pipeline can be
/// stopped, started again and freed.
fn panics_in(factory: &str, method: &str) {
    let fixture = PanicFixture::new(factory, method);
    armed().push((fixture.name.clone(), method.into()));
    fixture.pipeline.set_state(gst::State::Playing);
    let error = fixture.expect_error();
    let expected = format!(
        "Internal error in {method}: {TEXT}; this is a bug in the plugin, please report it"
    );
    assert_eq!(error, expected, "{factory}");
    fixture.pipeline.set_state(gst::State::Null);
    armed().retain(|(name, _)| *name != fixture.name);

    fixture.pipeline.forget();
    fixture.pipeline.set_state(gst::State::Playing);
    let element = fixture.pipeline.element(&fixture.name);
    let frames = || {
        let stats = element.property::<gst::Structure>("stats");
        stats.get::<u64>("frames").expect("a count")
    };
    let deadline = Instant::now() + PATIENCE;
    while frames() == 0 {
        let error = fixture.pipeline.error(Duration::from_millis(5));
        assert_eq!(error, None, "{factory} after a panic in {method}");
        assert!(Instant::now() < deadline, "{factory} gives no frames");
    }
    fixture.pipeline.set_state(gst::State::Null);
    fixture.pipeline.forget();

    let weak = element.downgrade();
    drop((element, fixture));
    while weak.upgrade().is_some() {
        assert!(Instant::now() < deadline, "{factory} is never freed");
        thread::sleep(Duration::from_millis(5));
    }
}

fn panics_everywhere(factory: &str) {
    let cases = cases(factory);
    assert!(cases.len() > 4, "{cases:?}");
    let bad: Vec<_> = cases
        .into_iter()
        .filter(|method| {
            println!("{factory}: {method}");
            panic::catch_unwind(|| panics_in(factory, method)).is_err()
        })
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
}

macro_rules! elements {
    ($($(#[$attribute:meta])* $test:ident $factory:literal)*) => {
        $(
            $(#[$attribute])*
            #[test]
            fn $test() {
                panics_everywhere($factory);
            }
        )*

        #[test]
        fn every_element_is_tested() {
            let tested = [$($(#[$attribute])* $factory,)*];
            assert!(ELEMENTS.iter().map(|(name, ..)| *name).eq(tested));
        }
    };
}

elements! {
    b64jpegpay_panic_ends_in_error "b64jpegpay"
    b64jpegdepay_panic_ends_in_error "b64jpegdepay"
    b64jpegclientsrc_panic_ends_in_error "b64jpegclientsrc"
    b64jpegserversink_panic_ends_in_error "b64jpegserversink"
    jfifconvert_panic_ends_in_error "jfifconvert"
    jpegcheck_panic_ends_in_error "jpegcheck"
    #[cfg(feature = "web")]
    socketioclientsink_panic_ends_in_error "socketioclientsink"
    #[cfg(feature = "web")]
    socketioclientsrc_panic_ends_in_error "socketioclientsrc"
    #[cfg(feature = "web")]
    socketioserversink_panic_ends_in_error "socketioserversink"
}

/// After a panic in the I/O thread there are no connections, and the streaming thread does not
/// wait.
#[test]
fn b64jpegserversink_failed_server_closes_connections() {
    let fixture = PanicFixture::new("b64jpegserversink", "I/O thread");
    let element = fixture.pipeline.element(&fixture.name);
    element.set_property("wait-for-client", true);
    armed().push((fixture.name.clone(), "I/O thread".into()));
    fixture.pipeline.set_state(gst::State::Playing);
    let port = element.property::<i32>("current-port") as u16;
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
    client.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let error = fixture.pipeline.error(PATIENCE).expect("an error");
    assert!(error.contains("I/O thread"), "{error}");
    let read = client.read(&mut [0]);
    assert!(
        !matches!(&read, Ok(1..)) && read.as_ref().is_ok_and(|len| *len == 0)
            || read.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
    );
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
    // The streaming thread, which waited for its first client, ends with a second error.
    let error = fixture.pipeline.error(PATIENCE).expect("the stream ends");
    assert!(error.contains("stream"), "{error}");
    assert_eq!(element.property::<u32>("clients"), 0);
    fixture.pipeline.set_state(gst::State::Null);
}
