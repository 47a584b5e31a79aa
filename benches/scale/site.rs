// SPDX-License-Identifier: MPL-2.0

//! The machines of one camera, each a process of its own.

use std::{
    env, fs, io, iter,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{self, Command},
    thread,
    time::{Duration, Instant},
};

use gst::prelude::*;

use crate::{
    common::{
        self, Result, cpu_time, jpegs,
        launch::{self, Plan, words},
        memory,
        process::{Process, wait_for_listener},
        spread,
    },
    viewer::{RunningViewer, Viewer, ViewerKind, ages},
};

/// How frames get from the origin to the edges.
#[derive(Debug, Clone, Copy)]
pub enum Route {
    /// Through a chain of this many routers.
    Zenoh { routers: usize },
    /// Without Zenoh: TCP clients that serve what they receive.
    Relays,
}

impl Route {
    pub fn name(self) -> &'static str {
        match self {
            Self::Zenoh { routers: 0 } => "zenoh",
            Self::Zenoh { routers: 1 } => "zenoh, router",
            Self::Zenoh { .. } => "zenoh, 2 routers",
            Self::Relays => "TCP relays",
        }
    }

    pub fn key(self) -> &'static str {
        match self {
            Self::Zenoh { .. } => "zenoh",
            Self::Relays => "relays",
        }
    }

    pub fn routers(self) -> usize {
        match self {
            Self::Zenoh { routers } => routers,
            Self::Relays => 0,
        }
    }

    /// A sentence about the program that is not built, if one is missing.
    pub fn missing(self) -> Option<&'static str> {
        match self {
            Self::Zenoh { .. } if load_zenoh().is_err() => {
                Some("Zenoh's plugin is not built; run pipelines/setup.sh --zenoh")
            }
            Self::Zenoh { routers: 1.. } if !zenoh("bin/zenohd").exists() => {
                Some("Zenoh's router is not built; run pipelines/setup.sh --router")
            }
            _ => None,
        }
    }
}

/// The path of a file that `setup.sh --zenoh` or `--router` builds.
fn zenoh(file: &str) -> PathBuf {
    let directory = env::var_os("B64JPEG_ZENOH_DIR").map(PathBuf::from);
    let directory = directory.unwrap_or_else(|| {
        let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        Path::new(&target).join("zenoh")
    });
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join(directory).join(file)
}

fn load_zenoh() -> Result<()> {
    if gst::ElementFactory::find("zenohsrc").is_none() {
        gst::Plugin::load_file(zenoh("gstreamer-1.0/libgstzenoh.so"))?;
    }
    Ok(())
}

/// How frames get from an edge to its viewers.
pub struct Protocol {
    pub name: &'static str,
    pub key: &'static str,
    /// Options for `edge.sh`.
    options: &'static [&'static str],
    connect: fn(&str) -> Result<Viewer>,
}

pub const PROTOCOLS: [Protocol; 3] = [
    Protocol {
        name: "TCP, base64",
        key: "tcp",
        options: &["--tcp=9999"],
        connect: Viewer::connect_tcp,
    },
    Protocol {
        name: "web, binary",
        key: "web",
        // All viewers have the address of this machine.
        options: &["--web=9999", "--per-address=0"],
        connect: |address| Viewer::connect(address, ViewerKind::Page),
    },
    Protocol {
        name: "MJPEG",
        key: "mjpeg",
        // All viewers have the address of this machine.
        options: &["--web=9999", "--per-address=0"],
        connect: |address| Viewer::connect(address, ViewerKind::Multipart),
    },
];

/// One row of a table.
#[derive(Clone, Copy)]
pub struct Case {
    pub route: Route,
    pub edges: usize,
    pub protocol: &'static Protocol,
    /// Viewers per edge.
    pub viewers: usize,
    pub rate: f64,
}

/// Resources that a machine uses.
#[derive(Clone, Copy)]
pub struct Cost {
    /// CPU time per frame, in us.
    pub cpu: f64,
    /// Resident memory, in MB.
    pub memory: f64,
}

pub struct Figures {
    /// For one origin, one router and one edge.
    pub tiers: [Option<Cost>; 3],
    /// Age of frames at an edge in ms: median and 99th percentile.
    pub arrived: [f64; 2],
    /// Age of frames at a viewer.
    pub seen: [f64; 2],
    /// Share of frames that the slowest viewer got.
    pub share: f64,
}

impl Figures {
    pub fn median(samples: &[Self]) -> Self {
        let of = |value: &dyn Fn(&Self) -> f64| spread(samples.iter().map(value).collect())[1];
        let of_tier = |tier: usize, value: fn(Cost) -> f64| {
            samples[0].tiers[tier]?;
            Some(of(&|sample| sample.tiers[tier].map_or(f64::NAN, value)))
        };
        Self {
            tiers: [0, 1, 2].map(|tier| {
                Some(Cost {
                    cpu: of_tier(tier, |cost| cost.cpu)?,
                    memory: of_tier(tier, |cost| cost.memory)?,
                })
            }),
            arrived: [0, 1].map(|figure| of(&|sample| sample.arrived[figure])),
            seen: [0, 1].map(|figure| of(&|sample| sample.seen[figure])),
            share: of(&|sample| sample.share),
        }
    }
}

impl Case {
    /// Measures for `window`, once every viewer has got a frame and `settle` has passed.
    pub fn run(&self, settle: Duration, window: Duration) -> Result<Figures> {
        let mut site = Site::start(self)?;
        let viewers = site.watch(self)?;
        thread::sleep(settle);

        let (begin, before) = (Instant::now(), site.cpu()?);
        thread::sleep(window);
        let (end, after) = (Instant::now(), site.cpu()?);
        let frames = (end - begin).as_secs_f64() * self.rate;

        let memory = site.memory()?;
        let arrived = site.arrived()?;
        let mut seen = Vec::new();
        let mut fewest = usize::MAX;
        viewers.iter().for_each(RunningViewer::stop);
        for viewer in viewers {
            let mut pictures = viewer.end()?;
            pictures.retain(|picture| picture.at >= begin);
            let in_time = pictures.iter().filter(|picture| picture.at <= end);
            fewest = fewest.min(in_time.count());
            seen.extend(pictures);
        }
        let cost = |tier: usize| {
            Some(Cost {
                cpu: (after[tier]? - before[tier]?) * 1e6 / frames,
                memory: memory[tier]?,
            })
        };
        Ok(Figures {
            tiers: [0, 1, 2].map(cost),
            arrived,
            seen: ages(&seen)?,
            share: (fewest as f64 / frames).min(1.0),
        })
    }
}

/// The argument for the port of an edge, which is replaced by that for a free port.
const PORT: &str = "port=9999";

/// A script to run, in a directory with its configuration.
struct Machine {
    directory: PathBuf,
    plan: Plan,
}

impl Machine {
    fn of(name: &str, script: &str, arguments: &[&str]) -> Result<Self> {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("scale-{name}"));
        fs::create_dir_all(&directory)?;
        let plan = Plan::of(script, arguments)?;
        Ok(Self { directory, plan })
    }

    /// Starts a router.
    fn route(&self) -> Result<Process> {
        let (program, arguments) = self.plan.program.split_first().ok_or("no router")?;
        let mut command = Command::new(program);
        command.args(arguments).env("RUST_LOG", "error");
        self.start(&command)
    }

    /// Starts the pipeline from `element` on, with another source.
    fn start_with_source(&self, source: &str, element: &str, rate: f64) -> Result<Process> {
        let at = self.plan.program.iter().position(|word| word == element);
        let at = at.ok_or_else(|| format!("there is no {element}"))?;
        let picked = self.plan.program[at..].iter().map(|word| match &**word {
            PORT => "port=0",
            word => word,
        });
        let mut command = common::child()?;
        command.args(["machine", &rate.to_string()]);
        command.args(words(source)).args(picked);
        self.start(&command)
    }

    fn start(&self, command: &Command) -> Result<Process> {
        let mut shell = Command::new("sh");
        shell.args(["-ec", &format!("{}\nexec \"$0\" \"$@\"", self.plan.before)]);
        shell.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            shell.env(name, value.unwrap_or_default());
        }
        shell.current_dir(&self.directory);
        Process::start(shell)
    }
}

/// All running machines.
struct Site {
    /// The origin, routers, edges.
    tiers: [Vec<Process>; 3],
    /// The addresses of the edges.
    addresses: Vec<String>,
}

impl Site {
    fn start(case: &Case) -> Result<Self> {
        const CAMERA: &str =
            "appsrc name=camera is-live=true format=time leaky-type=downstream max-buffers=1 !";
        const SERVER: &str = "b64jpegserversink";
        let mut routers = Vec::new();
        let (origin, edge, source, first) = match case.route {
            Route::Relays => {
                let options = ["--no-preview", "--port=0", "test"];
                let origin = Machine::of("origin", "serve.sh", &options)?;
                let mut origin = origin.start_with_source(CAMERA, SERVER, case.rate)?;
                let port = origin.port()?;
                let source = format!("b64jpegclientsrc name=camera0 host=127.0.0.1 port={port} !");
                let edge = Machine::of("edge", "edge.sh", case.protocol.options)?;
                (origin, edge, source, SERVER)
            }
            Route::Zenoh { routers: count } => {
                let ports: Vec<_> = (0..=count).map(|_| free_port()).collect::<Result<_>>()?;
                let at = |port: u16| format!("--connect=127.0.0.1:{port}");
                let by = |port: u16| format!("--router=127.0.0.1:{port}");
                for number in 0..count {
                    let port = format!("--port={}", ports[number]);
                    let next = number.checked_sub(1).map(|before| at(ports[before]));
                    let options: Vec<_> = iter::once(&*port).chain(next.as_deref()).collect();
                    let router = Machine::of(&format!("router{number}"), "router.sh", &options)?;
                    routers.push(router.route()?);
                    wait_for_listener(ports[number])?;
                }
                let (origin, edge) = match ports[..count] {
                    [] => (format!("--port={}", ports[0]), at(ports[0])),
                    [first, ..] => (by(first), by(ports[count - 1])),
                };
                let origin = Machine::of("origin", "origin.sh", &[&origin, "test"])?;
                let origin = origin.start_with_source(CAMERA, "jpegcheck", case.rate)?;
                let options = [&[&*edge], case.protocol.options].concat();
                let edge = Machine::of("edge", "edge.sh", &options)?;
                (origin, edge, String::new(), "zenohsrc")
            }
        };
        let mut edges = Vec::new();
        let mut addresses = Vec::new();
        for _ in 0..case.edges {
            let mut process = edge.start_with_source(&source, first, case.rate)?;
            addresses.push(format!("127.0.0.1:{}", process.port()?));
            edges.push(process);
        }
        Ok(Self {
            tiers: [vec![origin], routers, edges],
            addresses,
        })
    }

    /// Connects all viewers and waits until each has got a frame.
    fn watch(&self, case: &Case) -> Result<Vec<RunningViewer>> {
        /// `tcpserversink` has a backlog of 5.
        const AT_ONCE: usize = 4;
        let mut watching = Vec::new();
        for address in &self.addresses {
            let mut left = case.viewers;
            while left > 0 {
                let viewers: Result<Vec<_>> = (0..left.min(AT_ONCE))
                    .map(|_| (case.protocol.connect)(address))
                    .collect();
                for mut viewer in viewers? {
                    viewer.wait()?;
                    watching.push(viewer.watch(Duration::ZERO));
                    left -= 1;
                }
            }
        }
        Ok(watching)
    }

    /// The mean of a figure per kind of machine.
    fn mean_per_tier(&self, of: impl Fn(u32) -> Result<f64>) -> Result<[Option<f64>; 3]> {
        let mut each = [None; 3];
        for (each, tier) in each.iter_mut().zip(&self.tiers) {
            let all: Result<f64> = tier.iter().map(|process| of(process.id())).sum();
            *each = Some(all? / tier.len() as f64).filter(|each| each.is_finite());
        }
        Ok(each)
    }

    /// CPU time in seconds.
    fn cpu(&self) -> Result<[Option<f64>; 3]> {
        self.mean_per_tier(|process| Ok(cpu_time(process)?.as_secs_f64()))
    }

    /// Resident memory in MB.
    fn memory(&self) -> Result<[Option<f64>; 3]> {
        self.mean_per_tier(|process| Ok(memory(process)? as f64 * 1.024e-3))
    }

    /// Age of frames at the edges.
    fn arrived(&mut self) -> Result<[f64; 2]> {
        let mut ages = [Vec::new(), Vec::new()];
        for edge in &mut self.tiers[2] {
            for (ages, word) in ages.iter_mut().zip(edge.ask("arrived")?.split(' ')) {
                ages.push(word.parse::<f64>()? / 1e6);
            }
        }
        Ok(ages.map(|ages| spread(ages)[1]))
    }
}

/// A free port. The scripts do not accept 0.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Runs a machine until it is killed. Prints its port, and the age of its frames on request.
pub fn child(arguments: &[&str]) -> Result<()> {
    let ["machine", rate, words @ ..] = arguments else {
        return Err("unknown arguments".into());
    };
    if words.iter().any(|word| word.starts_with("zenoh")) {
        load_zenoh()?;
    }
    let pipeline = launch::pipeline(words)?;
    let bus = pipeline.bus().ok_or("the pipeline has no bus")?;
    bus.set_sync_handler(|_, message| {
        if let gst::MessageView::Error(error) = message.view() {
            eprintln!("{}: {:?}", error.error(), error.debug());
            process::exit(1);
        }
        gst::BusSyncReply::Drop
    });
    launch::start(&pipeline)?;
    let interval = Duration::from_secs_f64(1.0 / rate.parse::<f64>()?);
    launch::film(&pipeline, Some(common::caps()), jpegs()?, interval);
    for _ in io::stdin().lines() {
        let check = pipeline.by_name("camera0").ok_or("no element camera0")?;
        let stats = check.property::<gst::Structure>("stats");
        let [median, p99] = ["delay-median", "delay-p99"].map(|name| stats.get::<i64>(name));
        println!("{} {}", median?, p99?);
    }
    process::exit(0)
}
