// SPDX-License-Identifier: MPL-2.0

//! Machines with addresses of their own, in a network of their own.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use crate::common::{self, isolation, process::Program};

/// Runs the rest of a test where [`Machine`]s can be made. Everything it starts ends with it.
///
/// The test itself is at 10.78.0.254 in the machines' access network, and not on the site.
#[track_caller]
pub fn network(patience: Duration, rest: impl FnOnce()) {
    // The shell keeps running: as process 1 it adopts orphaned processes.
    const BRIDGES: &str = r#"
        set -e
        mount -t tmpfs none /run
        for bridge in site access; do
            ip link add $bridge type bridge
            ip link set $bridge up
        done
        ip link set lo up
        ip address add 10.78.0.254/24 dev access
        "$@"
    "#;
    let parts = [
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ];
    // The scripts would build Zenoh, which takes longer than any test.
    if !zenoh_dir().join("bin/zenohd").exists() {
        return isolation::skip_test(&rest, "no Zenoh here: pipelines/setup.sh --zenoh --router");
    }
    isolation::in_own_namespaces(&parts, BRIDGES, patience, rest);
}

/// Directory in which the scripts look for Zenoh's plugin and router.
fn zenoh_dir() -> PathBuf {
    let target = || match env::var_os("CARGO_TARGET_DIR") {
        Some(target) => target.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
    };
    let named = env::var_os("B64JPEG_ZENOH_DIR").map(PathBuf::from);
    named.unwrap_or_else(|| target().join("zenoh"))
}

/// A machine with the address 10.77.0.N on the site and 10.78.0.N in the access network, where its
/// viewers are. Its line to the site can be cut; the access network always works.
pub struct Machine {
    name: String,
    number: u8,
    line: Option<Program>,
}

/// Properties of a line, in each direction.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// In milliseconds.
    pub delay: u32,
    /// In percent of the packets.
    pub loss: u32,
    /// In megabits per second.
    pub rate: u32,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Machine {
    pub fn new(name: &str) -> Self {
        let machine = Self::bare(name);
        let Self { name, number, .. } = &machine;
        shell(&format!(
            "ip link add {name}.s type veth peer name site netns {name}
             ip link set {name}.s master site up
             ip -n {name} address add 10.77.0.{number}/24 dev site
             ip -n {name} link set site up"
        ));
        machine
    }

    /// A machine that is connected to the site by a slow line.
    pub fn far(name: &str, line: Line) -> Self {
        let mut machine = Self::bare(name);
        let Line { delay, loss, rate } = line;
        let emulator = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/soak/link.py");
        let (near, end) = (format!("{name}.s"), format!("{name}.m"));
        let mut command = Command::new("python3");
        command.args(["-u", emulator, "--ethernet", &near, &end]);
        command.args([
            format!("--delay={delay}"),
            format!("--loss={loss}"),
            format!("--rate={rate}"),
            // As much as a home router holds.
            "--queue=256".into(),
        ]);
        let mut program = Program::start(&mut command);
        program.expect_line("ready");
        let number = machine.number;
        shell(&format!(
            "ip link set {end} netns {name} name site
             ip link set {near} master site up
             ip -n {name} address add 10.77.0.{number}/24 dev site
             ip -n {name} link set site up"
        ));
        machine.line = Some(program);
        machine
    }

    fn bare(name: &str) -> Self {
        static MACHINES: AtomicU8 = AtomicU8::new(1);
        let number = MACHINES.fetch_add(1, Ordering::Relaxed);
        shell(&format!(
            "ip netns add {name}
             ip -n {name} link set lo up
             ip link add {name}.d type veth peer name access netns {name}
             ip link set {name}.d master access up
             ip -n {name} address add 10.78.0.{number}/24 dev access
             ip -n {name} link set access up"
        ));
        Self {
            name: name.into(),
            number,
            line: None,
        }
    }

    /// Its address on the site.
    pub fn address(&self) -> String {
        format!("10.77.0.{}", self.number)
    }

    /// Its address in the access network, which is not affected by faults of the site.
    pub fn access_address(&self) -> String {
        format!("10.78.0.{}", self.number)
    }

    /// A command that runs on this machine.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.name))
            .arg(program)
            .stdin(Stdio::null());
        command
    }

    /// A script of `pipelines/` that runs on this machine.
    pub fn script(&self, name: &str) -> Command {
        let path = format!("{}/pipelines/{name}.sh", env!("CARGO_MANIFEST_DIR"));
        let mut command = self.command(&path);
        common::process::with_plugin(&mut command)
            .env("B64JPEG_PLUGIN_DIR", common::plugin_dir())
            .env_remove("GST_PLUGIN_PATH")
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY");
        command
    }

    /// Cuts the line to the site. Neither programs nor kernels are notified.
    pub fn cut(&self) {
        self.port("disabled");
    }

    /// Repairs the line.
    pub fn heal(&self) {
        self.port("forwarding");
    }

    fn port(&self, state: &str) {
        shell(&format!(
            "bridge link set dev {}.s state {state}",
            self.name
        ));
    }
}

/// A program on a machine, with all its child processes.
///
/// Dropping it kills all of them at once, without a clean shutdown.
pub struct Role(pub Program);

impl Role {
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        Self(Program::start(command))
    }

    /// Stops all processes, as on a machine that has run out of memory.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets the processes continue.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let processes = self.processes();
        let _ = Command::new("kill")
            .args(["-s", signal])
            .args(processes.iter().map(u32::to_string))
            .stderr(Stdio::null())
            .status();
    }

    /// Memory in KB of the largest process, which is the one with the frames.
    pub fn memory(&self) -> usize {
        let processes = self.processes();
        let resident = processes.iter().filter_map(|&id| resident(id));
        resident.max().unwrap_or(0)
    }

    /// Ids of the processes, parents first.
    fn processes(&self) -> Vec<u32> {
        let mut ids = vec![self.0.id()];
        let mut next = 0;
        while let Some(id) = ids.get(next) {
            // The first thread starts all children here.
            let children = format!("/proc/{id}/task/{id}/children");
            let children = fs::read_to_string(children).unwrap_or_default();
            ids.extend(
                children
                    .split_whitespace()
                    .filter_map(|id| id.parse::<u32>().ok()),
            );
            next += 1;
        }
        ids
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.signal("KILL");
    }
}

/// Resident memory of a process in KB.
fn resident(id: u32) -> Option<usize> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Runs shell commands and panics if they fail.
#[track_caller]
fn shell(commands: &str) {
    let output = Command::new("sh").args(["-ec", commands]).output();
    let output = output.expect("a shell");
    assert!(output.status.success(), "{commands}: {output:?}");
}

#[test]
fn machine_is_reachable_again_after_repair() {
    network(common::process::PATIENCE, || {
        let near = Machine::new("near");
        let far = Machine::far(
            "far",
            Line {
                delay: 20,
                loss: 0,
                rate: 100,
            },
        );
        let mut server = far.command("gst-launch-1.0");
        common::process::with_plugin(&mut server).args([
            "videotestsrc",
            "is-live=true",
            "!",
            "jpegenc",
            "!",
            "b64jpegserversink",
            "host=0.0.0.0",
        ]);
        let _server = Role::start(&mut server);
        let mut client = near.command("gst-launch-1.0");
        let to = format!("host={}", far.address());
        common::process::with_plugin(&mut client).args([
            "-m",
            "b64jpegclientsrc",
            &to,
            "timeout=500000000",
            "!",
            "fakesink",
        ]);
        let mut client = Role::start(&mut client);
        for cut in [&near, &far] {
            client.0.expect_line("state=(string)streaming");
            cut.cut();
            client.0.expect_line("state=(string)lost");
            cut.heal();
        }
        client.0.expect_line("state=(string)streaming");
        client.freeze();
        assert!(client.memory() > 1000 && far.access_address() == "10.78.0.2");
    });
}
