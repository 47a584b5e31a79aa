// SPDX-License-Identifier: MPL-2.0

//! Tests that need a process, or a network, of their own.

use std::{
    env,
    io::{Write, stderr},
    process::Command,
};

use crate::common::process::Program;

const ALONE: &str = "B64JPEG_TEST_ALONE";

/// Runs `body`, of the test `name`, in a process where nothing else happens.
#[track_caller]
pub fn alone(name: &str, body: impl FnOnce()) {
    again(name, Command::new(test()), body);
}

/// As [`alone`], in a network in which nobody answers, neither the name server nor
/// 192.0.2.1.
#[track_caller]
pub fn in_the_void(name: &str, body: impl FnOnce()) {
    const VOID: &str = r#"
        set -e
        ip link set lo up
        ip link add hole type veth peer name bottom
        ip address add 192.0.2.2/24 dev hole
        ip link set bottom up
        ip link set hole up
        ip neighbour add 192.0.2.1 lladdr 02:00:00:00:00:01 dev hole
        mount -t tmpfs none /mnt
        printf 'nameserver 192.0.2.1\noptions timeout:30\n' >/mnt/resolv.conf
        echo 'hosts: dns' >/mnt/nsswitch.conf
        mount --bind /mnt/resolv.conf /etc/resolv.conf
        mount --bind /mnt/nsswitch.conf /etc/nsswitch.conf
        exec "$@"
    "#;
    const UNSHARE: [&str; 5] = ["--map-root-user", "--net", "--mount", "sh", "-c"];
    if env::var_os(ALONE).is_none() {
        let allowed = Command::new("unshare").args(UNSHARE).arg("true").output();
        if !allowed.is_ok_and(|output| output.status.success()) {
            // Past the test harness, which keeps what passing tests print.
            let _ = writeln!(stderr(), "skipped: {name}: no network namespaces here");
            return;
        }
    }
    let mut command = Command::new("unshare");
    command.args(UNSHARE).args([VOID, "sh"]).arg(test());
    again(name, command, body);
}

fn test() -> std::path::PathBuf {
    env::current_exe().expect("a test has a path")
}

#[track_caller]
fn again(name: &str, mut command: Command, body: impl FnOnce()) {
    if env::var_os(ALONE).is_some() {
        return body();
    }
    command
        .env(ALONE, "1")
        .args([name, "--exact", "--nocapture"]);
    let output = Program::start(&mut command).finish();
    assert!(output.contains("1 passed"), "{output}");
}
