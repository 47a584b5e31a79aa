// SPDX-License-Identifier: MPL-2.0

//! Tests that need a process, or a network, of their own.

use std::{
    any::type_name_of_val,
    env, fs,
    io::{Write, stderr},
    process::{self, Command},
    time::Duration,
};

use super::process::{PATIENCE, Program};

const ALONE: &str = "B64JPEG_TEST_ALONE";

/// Runs the rest of a test in a process where nothing else happens.
#[track_caller]
pub fn in_own_process(rest: impl FnOnce()) {
    again(&[], PATIENCE, rest);
}

/// As [`alone`], in a network in which nobody answers, neither the name server nor
/// 192.0.2.1.
#[track_caller]
pub fn in_unreachable_network(rest: impl FnOnce()) {
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
    in_own_namespaces(&["--net", "--mount"], VOID, PATIENCE, rest);
}

/// Runs the rest of a test as root of a machine apart, once a shell has done what makes
/// it: the parts that `unshare` knows by these options are its own.
#[track_caller]
pub fn in_own_namespaces(parts: &[&str], script: &str, patience: Duration, rest: impl FnOnce()) {
    let line = [&["unshare", "--map-root-user"], parts, &["sh", "-c"]].concat();
    if env::var_os(ALONE).is_none() {
        let allowed = Command::new(line[0]).args(&line[1..]).arg("true").output();
        if !allowed.is_ok_and(|output| output.status.success()) {
            return skip_test(&rest, "no network namespaces here");
        }
    }
    again(&[&line[..], &[script, "sh"]].concat(), patience, rest);
}

/// Says why a test that `rest` belongs to does nothing.
pub fn skip_test(rest: &impl FnOnce(), why: &str) {
    // Past the test harness, which keeps what passing tests print.
    let _ = writeln!(stderr(), "skipped: {}: {why}", name_of(rest));
}

/// Runs the test that `rest` belongs to by way of a command.
#[track_caller]
fn again(by_way_of: &[&str], patience: Duration, rest: impl FnOnce()) {
    if env::var_os(ALONE).is_some() {
        return rest();
    }
    let test = env::current_exe().expect("a test has a path");
    let test = test.to_str().expect("UTF-8");
    let line = [by_way_of, &[test, name_of(&rest), "--exact", "--nocapture"]].concat();
    let mut command = Command::new(line[0]);
    let command = command.args(&line[1..]).env(ALONE, "");
    let output = Program::start(command).finish_within(patience);
    assert!(output.contains("1 passed"), "{output}");
    // For whoever asks for it with --nocapture, too.
    println!("{output}");
}

/// The name of the test that a closure is in.
fn name_of<T>(closure: &T) -> &'static str {
    // `client::client::states::the_test::{{closure}}`, which begins with the crate.
    let (_, name) = type_name_of_val(closure).split_once("::").expect("a path");
    name.split("::{{").next().expect("a name")
}

/// A number that the kernel tells about this process.
#[track_caller]
pub fn process_status(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    number.unwrap_or_else(|| panic!("no {name} in {status}"))
}

/// Has `VmHWM`, the most memory that this process ever took, begin anew.
#[track_caller]
pub fn reset_peak_memory() {
    fs::write("/proc/self/clear_refs", "5").expect("Linux");
}

/// Lets this process have so many files.
#[track_caller]
pub fn raise_file_limit(count: usize) {
    let mut prlimit = Command::new("prlimit");
    prlimit.arg(format!("--pid={}", process::id()));
    let done = prlimit.arg(format!("--nofile={count}:")).status();
    assert!(done.expect("util-linux").success(), "{count} files");
}
