// SPDX-License-Identifier: MPL-2.0

//! Tests that need a process or a network of their own.

use std::{
    any::type_name_of_val,
    env, fs,
    io::{Write, stderr},
    process::{self, Command},
    time::Duration,
};

use super::process::{PATIENCE, Program};

const OWN_PROCESS: &str = "B64JPEG_TEST_ALONE";

/// Runs the rest of a test in a process in which no other test runs.
#[track_caller]
pub fn in_own_process(rest: impl FnOnce()) {
    rerun_test(&[], PATIENCE, rest);
}

/// As [`in_own_process`], in a network in which neither the name server nor 192.0.2.1 answers.
#[track_caller]
pub fn in_unreachable_network(rest: impl FnOnce()) {
    const UNREACHABLE_NETWORK: &str = r#"
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
    in_own_namespaces(&["--net", "--mount"], UNREACHABLE_NETWORK, PATIENCE, rest);
}

/// Runs the rest of a test as root in new namespaces, after the shell script `script` has set
/// them up. `namespaces` are the options of `unshare` that name the namespaces.
#[track_caller]
pub fn in_own_namespaces(
    namespaces: &[&str],
    script: &str,
    patience: Duration,
    rest: impl FnOnce(),
) {
    let line = [&["unshare", "--map-root-user"], namespaces, &["sh", "-c"]].concat();
    if env::var_os(OWN_PROCESS).is_none() {
        let allowed = Command::new(line[0]).args(&line[1..]).arg("true").output();
        if !allowed.is_ok_and(|output| output.status.success()) {
            return skip_test(&rest, "no network namespaces here");
        }
    }
    rerun_test(&[&line[..], &[script, "sh"]].concat(), patience, rest);
}

/// Reports that the test to which `rest` belongs is skipped, and why.
pub fn skip_test(rest: &impl FnOnce(), why: &str) {
    // Directly to stderr, because the test harness hides the output of passing tests.
    let _ = writeln!(stderr(), "skipped: {}: {why}", test_name(rest));
}

/// Runs the test to which `rest` belongs rerun_test, as a child of the command `wrapper`.
#[track_caller]
fn rerun_test(wrapper: &[&str], patience: Duration, rest: impl FnOnce()) {
    if env::var_os(OWN_PROCESS).is_some() {
        return rest();
    }
    let test = env::current_exe().expect("a test has a path");
    let test = test.to_str().expect("UTF-8");
    let line = [wrapper, &[test, test_name(&rest), "--exact", "--nocapture"]].concat();
    let mut command = Command::new(line[0]);
    let command = command.args(&line[1..]).env(OWN_PROCESS, "");
    let output = Program::start(command).finish_within(patience);
    assert!(output.contains("1 passed"), "{output}");
    // Visible with --nocapture.
    println!("{output}");
}

/// Returns the name of the test that contains a closure.
fn test_name<T>(closure: &T) -> &'static str {
    // For example `client::client::states::the_test::{{closure}}`; the first part is the crate.
    let (_, name) = type_name_of_val(closure).split_once("::").expect("a path");
    name.split("::{{").next().expect("a name")
}

/// Returns a number from `/proc/self/status`, for example `VmHWM` in KiB.
#[track_caller]
pub fn process_status(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    number.unwrap_or_else(|| panic!("no {name} in {status}"))
}

/// Resident memory of this process, in bytes.
#[track_caller]
pub fn resident_memory() -> usize {
    process_status("VmRSS") << 10
}

/// Resets `VmHWM`, the peak memory of this process, to its current memory; returns it in KiB.
#[track_caller]
pub fn reset_peak_memory() -> usize {
    fs::write("/proc/self/clear_refs", "5").expect("Linux");
    process_status("VmHWM")
}

/// Raises the limit of open files of this process.
#[track_caller]
pub fn raise_file_limit(count: usize) {
    let mut prlimit = Command::new("prlimit");
    prlimit.arg(format!("--pid={}", process::id()));
    let done = prlimit.arg(format!("--nofile={count}:")).status();
    assert!(done.expect("util-linux").success(), "{count} files");
}
