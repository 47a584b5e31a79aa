// SPDX-License-Identifier: MPL-2.0

//! Who may send and who may receive frames.

use std::fs;

use super::{
    net::{Machine, Role, network},
    participants::{
        EdgeViewer, KEY, PATIENCE, camera, certify, edge, endpoint, origin, prepare_publishers,
        publisher, start_script, tls,
    },
};
use crate::common::{certificates::Authority, peer::ZENOH, pipeline::scratch};

#[test]
fn origin_serves_only_its_own_machine_by_default() {
    network(PATIENCE, || {
        let [home, elsewhere] = ["home", "elsewhere"].map(Machine::new);
        let camera = camera();
        let mut origin = Role::start(home.script("origin").arg(camera.uri()));
        origin.0.expect_line("Only this machine can connect");
        let mut near = edge(&home, &[]);
        near.0.expect_line("Receiving cam/main/jpeg");
        let mut far = edge(&elsewhere, &["--connect", &home.address()]);
        far.0
            .expect_line("is not there (Connection refused); waiting.");
    });
}

#[test]
fn nothing_can_be_published_through_origin() {
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
        let viewer = EdgeViewer::start(&serving, &camera);
        viewer.expect_new_frames();
        let to = endpoint("tcp", &home);
        let listen = endpoint("tcp", &elsewhere);
        let hello = format!("{KEY}/@hello");
        for way in [
            &["--mode", "client"][..],
            &["--mode", "peer"],
            // A peer to which the origin could connect if it forwarded its address.
            &["--mode", "peer", "--listen", &listen],
        ] {
            for (key, what) in [(KEY, "picture"), (&*hello, "hello")] {
                let args = [way, &["--connect", &to, key, "text", what]].concat();
                let output = publisher(&elsewhere, &ZENOH, &args).finish();
                assert!(output.contains(&format!("sent {what}")), "{output}");
            }
        }
        viewer.expect_new_frames();
        let output = edge.0.printed();
        assert!(
            !output.contains("warning") && !output.contains("cam/good"),
            "{output}"
        );
    });
}

#[test]
fn refused_certificate_is_reported_with_reason() {
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
        let viewer = EdgeViewer::start(&serving, &camera);
        viewer.expect_new_frames();
        // An address of the origin that its certificate does not contain.
        let by_other_address = ["--connect", &home.access_address()];
        for (to, certificate, why) in [
            (
                &to_home,
                &tls(&of_stranger, &our)[..],
                "rejects our certificate",
            ),
            (&to_home, &tls(&expired, &our), "has expired"),
            (&to_home, &tls(&of_edge, &their), "has not signed"),
            (&to_home, &[], "does not speak Zenoh without --tls"),
            (
                &by_other_address,
                &tls(&of_edge, &our),
                "has a certificate for other names",
            ),
        ] {
            let mut edge = edge(&elsewhere, &[&to[..], certificate].concat());
            let output = edge.0.expect_line("no frames");
            assert!(output.contains(why), "{output}");
        }
        viewer.expect_new_frames();
    });
}

#[test]
fn only_listed_publishers_may_publish() {
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
        let mut role = start_script(&router, "router", &with_file);
        role.0.expect_line("connect to it with");
        let key = "cam/front/jpeg";
        let [good, bad] = [camera(), camera()];
        let to = ["--router", &router.address(), "--key", key];
        let _front = origin(&front, &good, &[&to[..], &tls(&of_front, &ca)].concat());
        let mut edge = edge(&serving, &[&to[..], &tls(&of_edge, &ca)].concat());
        let viewer = EdgeViewer::start(&serving, &good);
        viewer.expect_new_frames();
        let mut role = origin(&back, &bad, &[&to[..], &tls(&of_back, &ca)].concat());
        role.0
            .expect_line("accepts us, but does not let us publish cam/front/jpeg");
        let endpoint = endpoint("tls", &router);
        let args = [
            &tls(&of_edge, &ca)[..],
            &["--connect", &endpoint, key, "text"],
        ]
        .concat();
        let output = publisher(&back, &ZENOH, &args).finish();
        assert!(output.contains("sent text"), "{output}");
        viewer.expect_new_frames();
        let output = edge.0.printed();
        assert!(!output.contains("warning"), "{output}");
    });
}
