// SPDX-License-Identifier: MPL-2.0

//! Who may send pictures, who may watch them, and who may not.

use std::fs;

use super::{
    net::{Machine, Role, network},
    participants::{
        KEY, PATIENCE, Watching, camera, certify, edge, endpoint, open, origin, prepare_publishers,
        publisher, tls,
    },
};
use crate::common::{certificates::Authority, peer::ZENOH, pipeline::scratch};

#[test]
fn by_default_an_origin_is_there_for_its_own_machine_only() {
    network(PATIENCE, || {
        let [home, elsewhere] = ["home", "elsewhere"].map(Machine::new);
        let camera = camera();
        let mut origin = Role::start(home.script("origin").arg(camera.uri()));
        origin.0.expect_line("Only this machine can ask for it");
        let mut near = edge(&home, &[]);
        near.0.expect_line("cam/main/jpeg comes");
        let mut far = edge(&elsewhere, &["--connect", &home.address()]);
        far.0
            .expect_line("is not there (Connection refused); waiting.");
    });
}

#[test]
fn nobody_publishes_by_way_of_an_origin() {
    prepare_publishers();
    network(PATIENCE, || {
        let [home, serving, elsewhere] = ["home", "serving", "elsewhere"].map(Machine::new);
        let camera = camera();
        let _origin = origin(&home, &camera, &[]);
        let all = ["--key", KEY, "--key", "cam/*/jpeg"];
        let connect = ["--connect", &home.address()];
        let mut edge = edge(
            &serving,
            &[connect, [all[0], all[1]], [all[2], all[3]]].concat(),
        );
        let watching = Watching::start(&serving, &camera);
        watching.goes_on();
        let to = endpoint("tcp", &home);
        let listen = endpoint("tcp", &elsewhere);
        let hello = format!("{KEY}/@hello");
        for way in [
            &["--mode", "client"][..],
            &["--mode", "peer"],
            // One that could be dialled, if the origin told of it.
            &["--mode", "peer", "--listen", &listen],
        ] {
            for (key, what) in [(KEY, "picture"), (&*hello, "hello")] {
                let args = [way, &["--connect", &to, key, "text", what]].concat();
                let said = publisher(&elsewhere, &ZENOH, &args).finish();
                assert!(said.contains(&format!("sent {what}")), "{said}");
            }
        }
        watching.goes_on();
        let said = edge.0.printed();
        assert!(
            !said.contains("warning") && !said.contains("cam/good"),
            "{said}"
        );
    });
}

#[test]
fn with_certificates_strangers_are_told_why_they_are_kept_out() {
    network(PATIENCE, || {
        let [home, serving, elsewhere] = ["home", "serving", "elsewhere"].map(Machine::new);
        let [ours, theirs] = ["zenoh-ours", "zenoh-theirs"].map(Authority::new);
        let (our, their) = (ours.file(), theirs.file());
        let [of_home, of_edge] = certify(&ours, [&home.address(), "edge"]);
        let [of_stranger] = certify(&theirs, ["edge"]);
        let expired = ours.certify_expired("edge");
        let camera = camera();
        let mut origin = origin(&home, &camera, &tls(&of_home, &our));
        origin.0.expect_line("serve it with");
        let to_home = ["--connect", &home.address()];
        let _edge = edge(&serving, &[&to_home[..], &tls(&of_edge, &our)].concat());
        let watching = Watching::start(&serving, &camera);
        watching.goes_on();
        // A way there that its certificate does not name.
        let astray = ["--connect", &home.doorstep()];
        for (to, certificate, why) in [
            (
                &to_home,
                &tls(&of_stranger, &our)[..],
                "turns us away because of",
            ),
            (&to_home, &tls(&expired, &our), "has expired"),
            (&to_home, &tls(&of_edge, &their), "has not signed"),
            (&to_home, &[], "not as Zenoh does without --tls"),
            (
                &astray,
                &tls(&of_edge, &our),
                "has a certificate for others",
            ),
        ] {
            let mut edge = edge(&elsewhere, &[&to[..], certificate].concat());
            let said = edge.0.expect_line("no pictures");
            assert!(said.contains(why), "{said}");
        }
        watching.goes_on();
    });
}

#[test]
fn only_those_publish_whom_the_file_names() {
    prepare_publishers();
    network(PATIENCE, || {
        let machines = ["router", "front", "back", "serving"];
        let [router, front, back, serving] = machines.map(Machine::new);
        let authority = Authority::new("zenoh-publishers");
        let ca = authority.file();
        let [of_router, of_front, of_back, of_edge] =
            certify(&authority, [&router.address(), "front", "back", "edge"]);
        let file = scratch("publishers.txt");
        fs::write(
            &file,
            "# who\nfront cam/front/** # and what\nback cam/back/**",
        )
        .expect("a file");
        let file = file.to_str().expect("UTF-8");
        let with_file = [&tls(&of_router, &ca)[..], &["--publishers", file]].concat();
        let mut role = open(&router, "router", &with_file);
        role.0.expect_line("meet there with");
        let key = "cam/front/jpeg";
        let [good, bad] = [camera(), camera()];
        let to = ["--router", &router.address(), "--key", key];
        let _front = origin(&front, &good, &[&to[..], &tls(&of_front, &ca)].concat());
        let mut edge = edge(&serving, &[&to[..], &tls(&of_edge, &ca)].concat());
        let watching = Watching::start(&serving, &good);
        watching.goes_on();
        let mut role = origin(&back, &bad, &[&to[..], &tls(&of_back, &ca)].concat());
        role.0
            .expect_line("lets us in, but not publish cam/front/jpeg");
        let endpoint = endpoint("tls", &router);
        let args = [
            &tls(&of_edge, &ca)[..],
            &["--connect", &endpoint, key, "text"],
        ]
        .concat();
        let said = publisher(&back, &ZENOH, &args).finish();
        assert!(said.contains("sent text"), "{said}");
        watching.goes_on();
        let said = edge.0.printed();
        assert!(!said.contains("warning"), "{said}");
    });
}
