// SPDX-License-Identifier: MPL-2.0

//! Faults between a camera and its viewers, and the frames lost by them.
//!
//! The test knows when each frame was sent and when each viewer received it. Edges without a fault
//! lose no frame, no viewer receives a frame twice or out of order, and viewers recover by
//! themselves. `--nocapture` shows the figures, and `B64JPEG_TEST_FROZEN=60` freezes the edge for a
//! minute.

use std::{
    collections::BTreeSet,
    env,
    ops::Range,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::{
    fixture::{Camera, Seen, Viewer},
    net::{Line, Machine, Role, network},
};
use crate::common::{process::with_plugin, wait::wait_until};

const PATIENCE: Duration = Duration::from_secs(180);

/// The bit rate of a common camera with fewer and larger frames. A busy machine may not run for the
/// period of such a camera, and an edge that then finds two frames keeps only the newer one.
const PICTURE: usize = 200_000;
const PERIOD: Duration = Duration::from_millis(100);

const TCP_PORT: u16 = 9999;

/// How long viewers are observed after a fault.
const AFTERMATH: Duration = Duration::from_secs(8);

/// The effects of a fault have to end within this time.
const OVER: Duration = Duration::from_secs(6);

/// Frames without a fault are never as old as this, whatever the line; usually their age is a
/// hundredth of it.
const OLD: Duration = Duration::from_secs(2);

/// Where an edge or an origin connects to.
enum To<'a> {
    Origin(&'a Machine),
    Routers([&'a Machine; 2]),
}

impl To<'_> {
    fn options(&self) -> Vec<String> {
        match self {
            Self::Origin(at) => vec!["--connect".into(), at.address()],
            Self::Routers(at) => at
                .iter()
                .flat_map(|at| ["--router".into(), at.address()])
                .collect(),
        }
    }
}

struct Origin {
    machine: Machine,
    role: Option<Role>,
}

struct Edge {
    machine: Machine,
    role: Option<Role>,
    viewer: Viewer,
}

impl Edge {
    fn new(machine: Machine, to: &To) -> Self {
        let viewer = Viewer::start(&machine.access_address(), TCP_PORT);
        let mut edge = Self {
            machine,
            role: None,
            viewer,
        };
        edge.start(to);
        edge
    }

    fn start(&mut self, to: &To) {
        let mut command = self.machine.script("edge");
        command.args(["--host", "0.0.0.0", "--tcp", &TCP_PORT.to_string()]);
        self.role = Some(Role::start(command.args(to.options())));
    }

    fn role(&self) -> &Role {
        self.role.as_ref().expect("a running process")
    }
}

/// A camera, its origin, and edges.
struct Site {
    camera: Camera,
    origin: Origin,
    edges: Vec<Edge>,
}

impl Site {
    /// A site with three edges that connect to the origin.
    fn new(picture: usize) -> Self {
        Self::with(picture, ["one", "two", "three"].map(Machine::new).into())
    }

    fn with(picture: usize, machines: Vec<Machine>) -> Self {
        let machine = Machine::new("origin");
        let to = To::Origin(&machine);
        let edges = machines.into_iter().map(|at| Edge::new(at, &to)).collect();
        let mut site = Self {
            camera: Camera::start(picture, PERIOD),
            origin: Origin {
                machine,
                role: None,
            },
            edges,
        };
        site.start_origin(&["--host", "0.0.0.0"]);
        site.wait_for_all_viewers();
        site
    }

    fn start_origin(&mut self, options: &[&str]) {
        let mut command = self.origin.machine.script("origin");
        let command = command.args(options).arg(self.camera.uri());
        self.origin.role = Some(Role::start(command));
    }

    fn start_edge(&mut self, edge: usize) {
        self.edges[edge].start(&To::Origin(&self.origin.machine));
    }

    /// Waits until every viewer receives new frames.
    #[track_caller]
    fn wait_for_all_viewers(&self) {
        for edge in &self.edges {
            let next = self.camera.next();
            wait_until(&format!("new frames at {}", edge.machine), || {
                let last = edge.viewer.seen().last().copied();
                last.is_some_and(|seen| seen.number >= next)
            });
        }
    }

    /// Causes a fault and observes the viewers after it.
    fn after(&mut self, what: &'static str, fault: impl FnOnce(&mut Self)) -> Aftermath<'_> {
        let memory = self.memory();
        let from = self.camera.next();
        fault(self);
        let healed = Instant::now();
        thread::sleep(AFTERMATH);
        let to = self.camera.next();
        // The last frames are still on their way.
        thread::sleep(OLD);
        let memory = memory.into_iter().zip(self.memory());
        println!("{what}: memory in KB: {:?}", memory.collect::<Vec<_>>());
        Aftermath {
            site: self,
            what,
            pictures: from..to,
            healed,
        }
    }

    /// Memory in KB of the edges and the origin.
    fn memory(&self) -> Vec<usize> {
        let edges = self.edges.iter().map(|edge| &edge.role);
        let roles = edges.chain([&self.origin.role]).flatten();
        roles.map(Role::memory).collect()
    }
}

/// The frames received from a fault on.
struct Aftermath<'a> {
    site: &'a Site,
    what: &'static str,
    pictures: Range<usize>,
    healed: Instant,
}

impl Aftermath<'_> {
    fn seen(&self, edge: usize) -> Vec<Seen> {
        let mut seen = self.site.edges[edge].viewer.seen();
        seen.retain(|seen| self.pictures.contains(&seen.number));
        seen
    }

    fn report(&self, edge: usize, what: std::fmt::Arguments) {
        println!("{}: {}: {what}", self.what, self.site.edges[edge].machine);
    }

    /// Expects that these edges were not affected. Each received the frames that any of them received,
    /// and together they received what was sent, except the one in twenty that a busy machine may drop.
    #[track_caller]
    fn expect_nothing_lost(&self, edges: &[usize]) -> &Self {
        let numbers = |&edge| self.seen(edge).into_iter().map(|seen| seen.number);
        let sent: BTreeSet<_> = edges.iter().flat_map(numbers).collect();
        for edge in edges {
            let seen: BTreeSet<_> = numbers(edge).collect();
            let lost: Vec<_> = sent.difference(&seen).collect();
            let age = self.oldest(&self.seen(*edge));
            self.report(
                *edge,
                format_args!("{} seen, {lost:?} lost, up to {age:?} old", seen.len()),
            );
            assert!(
                lost.len() * 20 <= sent.len(),
                "{}: {edge} lost {lost:?}",
                self.what
            );
        }
        let all = self.pictures.len();
        assert!(
            sent.len() * 100 > all * 95,
            "{}: {} of {all}",
            self.what,
            sent.len()
        );
        self
    }

    /// Expects that these edges recovered by themselves in time, with new frames.
    #[track_caller]
    fn expect_recovered(&self, edges: &[usize]) -> &Self {
        for &edge in edges {
            let mut seen = self.seen(edge);
            seen.retain(|seen| seen.at > self.healed);
            let first = seen.first().map(|seen| seen.at - self.healed);
            let over = |after| {
                let seen = seen.iter().filter(|seen| seen.at > self.healed + after);
                let seen: Vec<_> = seen.copied().collect();
                self.oldest(&seen)
            };
            let (soon, later) = (over(Duration::from_secs(2)), over(OVER));
            let gap = seen.windows(2).map(|w| w[1].at - w[0].at).max();
            self.report(
                edge,
                format_args!(
                    "back after {first:?}, no gap over {gap:?}; 2 s later up to {soon:?} old"
                ),
            );
            assert!(
                first.is_some_and(|first| first < OVER),
                "{}: {edge}",
                self.what
            );
            assert!(
                later.is_some_and(|age| age < OLD),
                "{}: {edge}: {later:?}",
                self.what
            );
        }
        self
    }

    fn oldest(&self, seen: &[Seen]) -> Option<Duration> {
        let sent = self.site.camera.sent();
        seen.iter().map(|seen| seen.at - sent[seen.number]).max()
    }

    /// Expects that no viewer ever received a frame twice or out of order.
    #[track_caller]
    fn expect_in_order(&self) {
        for edge in &self.site.edges {
            let seen = edge.viewer.seen();
            let wrong = seen.windows(2).find(|w| w[0].number >= w[1].number);
            assert!(
                wrong.is_none(),
                "{}: {}: {wrong:?}",
                self.what,
                edge.machine
            );
        }
    }
}

#[test]
fn restarted_origin_is_back_at_every_edge() {
    network(PATIENCE, || {
        let mut site = Site::new(PICTURE);
        let after = site.after("origin killed", |site| {
            site.origin.role = None;
            site.start_origin(&["--host", "0.0.0.0"]);
        });
        after.expect_recovered(&[0, 1, 2]).expect_in_order();
        for edge in &site.edges {
            assert_eq!(edge.viewer.connections(), 1, "viewers stay connected");
        }
    });
}

#[test]
fn restarted_edge_is_back_and_others_lose_nothing() {
    network(PATIENCE, || {
        let mut site = Site::new(PICTURE);
        // A viewer as users start it.
        let mut watching = Command::new("gst-launch-1.0");
        let host = format!("host={}", site.edges[2].machine.access_address());
        let mut watching = Role::start(with_plugin(&mut watching).args([
            "-m",
            "b64jpegclientsrc",
            &host,
            "!",
            "fakesink",
        ]));
        watching.0.expect_line("state=(string)streaming");
        let after = site.after("edge killed", |site| {
            site.edges[2].role = None;
            site.start_edge(2);
        });
        after
            .expect_nothing_lost(&[0, 1])
            .expect_recovered(&[2])
            .expect_in_order();
        watching.0.expect_line("state=(string)lost");
        watching.0.expect_line("state=(string)streaming");
    });
}

#[test]
fn frozen_edge_is_back_and_others_lose_nothing() {
    let seconds = env::var("B64JPEG_TEST_FROZEN").ok();
    let seconds = seconds.map_or(8, |seconds| seconds.parse().expect("seconds"));
    network(PATIENCE, || {
        let mut site = Site::new(PICTURE);
        let before = site.memory();
        let after = site.after("edge frozen", |site| {
            site.edges[2].role().freeze();
            thread::sleep(Duration::from_secs(seconds));
            site.edges[2].role().thaw();
        });
        after
            .expect_nothing_lost(&[0, 1])
            .expect_recovered(&[2])
            .expect_in_order();
        expect_flat_memory(&before, &site.memory());
    });
}

/// Expects a growth below half of the 256 frames that zenohsrc holds if they are not consumed.
#[track_caller]
fn expect_flat_memory(before: &[usize], after: &[usize]) {
    for (before, after) in before.iter().zip(after) {
        assert!(
            after < &(before + 256 * PICTURE / 2 / 1024),
            "{before} KB, then {after} KB"
        );
    }
}

#[test]
fn cut_line_is_back_and_others_lose_nothing() {
    network(PATIENCE, || {
        let mut site = Site::new(PICTURE);
        // One second is short enough for TCP to recover, five seconds are not.
        for (what, seconds) in [("line cut for 1 s", 1), ("line cut for 5 s", 5)] {
            let after = site.after(what, |site| {
                site.edges[2].machine.cut();
                thread::sleep(Duration::from_secs(seconds));
                site.edges[2].machine.heal();
            });
            after
                .expect_nothing_lost(&[0, 1])
                .expect_recovered(&[2])
                .expect_in_order();
        }
        let after = site.after("origin's line cut", |site| {
            site.origin.machine.cut();
            thread::sleep(Duration::from_secs(4));
            site.origin.machine.heal();
        });
        after.expect_recovered(&[0, 1, 2]).expect_in_order();
    });
}

#[test]
fn killed_router_is_replaced_by_other_one() {
    network(PATIENCE, || {
        let [first, second] = ["first", "second"].map(Machine::new);
        let start = |machine: &Machine, other: &Machine| {
            let mut command = machine.script("router");
            command.args(["--host", "0.0.0.0", "--connect", &other.address()]);
            let mut role = Role::start(&mut command);
            role.0.expect_line("Routing at");
            role
        };
        let mut routers = [Some(start(&first, &second)), Some(start(&second, &first))];
        let to = [
            To::Routers([&first, &second]),
            To::Routers([&second, &first]),
        ];
        let edges = ["one", "two", "three"].map(Machine::new).into_iter();
        let edges = edges.zip([&to[0], &to[1], &to[0]]);
        let mut site = Site {
            camera: Camera::start(PICTURE, PERIOD),
            origin: Origin {
                machine: Machine::new("origin"),
                role: None,
            },
            edges: edges.map(|(at, to)| Edge::new(at, to)).collect(),
        };
        let options = to[0].options();
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        site.start_origin(&options);
        site.wait_for_all_viewers();
        site.after("no fault", |_| {})
            .expect_nothing_lost(&[0, 1, 2])
            .expect_in_order();
        site.after("router killed", |_| routers[0] = None)
            .expect_recovered(&[0, 1, 2])
            .expect_in_order();
        routers[0] = Some(start(&first, &second));
        site.after("other router cut off", |_| second.cut())
            .expect_recovered(&[0, 1, 2])
            .expect_in_order();
    });
}

#[test]
fn distant_edge_receives_frames_in_time() {
    network(PATIENCE, || {
        let line = Line {
            delay: 80,
            loss: 5,
            rate: 50,
        };
        let machines = vec![
            Machine::new("one"),
            Machine::new("two"),
            Machine::far("far", line),
        ];
        let mut site = Site::with(PICTURE / 4, machines);
        let after = site.after("far", |_| {});
        after
            .expect_nothing_lost(&[0, 1])
            .expect_recovered(&[2])
            .expect_in_order();
    });
}

#[test]
fn slow_edge_skips_frames_and_others_lose_nothing() {
    network(PATIENCE, || {
        // Less than the 80 Mbit/s of these frames, which are as large as those of 4K video.
        let line = |rate| Line {
            delay: 10,
            loss: 0,
            rate,
        };
        let machines = vec![
            Machine::new("one"),
            Machine::new("two"),
            Machine::far("slow", line(30)),
            Machine::far("slower", line(20)),
        ];
        let mut site = Site::with(1_000_000, machines);
        let before = site.memory();
        let after = site.after("slow", |_| {});
        after
            .expect_nothing_lost(&[0, 1])
            .expect_recovered(&[2, 3])
            .expect_in_order();
        let after = site.after("slow and killed", |site| {
            site.edges[3].role = None;
            site.start_edge(3);
        });
        after
            .expect_nothing_lost(&[0, 1])
            .expect_recovered(&[2])
            .expect_in_order();
        expect_flat_memory(&before, &site.memory());
    });
}
