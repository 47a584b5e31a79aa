// SPDX-License-Identifier: MPL-2.0

//! Motion JPEG without Huffman tables, as many USB cameras send it: OpenCV and GStreamer
//! know which ones are meant, other viewers have to be told.

mod common;

use std::fs;

use base64::prelude::*;
use common::{
    peer::peer,
    pipeline::{Pipeline, scratch},
    process::Program,
    raw_server::RawServer,
    server_fixture::ServerFixture,
    viewer::Viewer,
};

const FRAMES: usize = 5;
const DHT: u8 = 0xc4;
const SOS: u8 = 0xda;

/// The header segments of a JPEG, each with its marker and length, and the rest.
fn taken_apart(jpeg: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let (mut segments, mut rest) = (vec![], &jpeg[2..]);
    while let &[0xff, marker, high, low, ..] = rest
        && marker != SOS
    {
        let (segment, tail) = rest.split_at(2 + usize::from(u16::from_be_bytes([high, low])));
        segments.push(segment);
        rest = tail;
    }
    (segments, rest)
}

/// The Huffman tables of a JPEG.
fn tables(jpeg: &[u8]) -> Vec<u8> {
    let (segments, _) = taken_apart(jpeg);
    let tables = segments.into_iter().filter(|segment| segment[1] == DHT);
    tables.flat_map(|segment| &segment[4..]).copied().collect()
}

fn without_tables(jpeg: &[u8]) -> Vec<u8> {
    let (mut segments, rest) = taken_apart(jpeg);
    segments.retain(|segment| segment[1] != DHT);
    [&jpeg[..2], &segments.concat(), rest].concat()
}

fn stream(jpegs: &[Vec<u8>]) -> Vec<u8> {
    let frame = |jpeg: &Vec<u8>| {
        let text = BASE64_STANDARD.encode(jpeg);
        [&(text.len() as u32).to_be_bytes(), text.as_bytes()].concat()
    };
    jpegs.iter().flat_map(frame).collect()
}

/// What passes the sink of a pipeline, called `sink`.
fn run(line: &str) -> Vec<Vec<u8>> {
    let pipeline = Pipeline::launch(line);
    let buffers = pipeline.collect("sink", "sink");
    pipeline.play();
    pipeline.wait_for_clean_end();
    buffers.take()
}

/// Pictures of jpegenc, which has the tables of the standard, in colour or grey; and a
/// source of the same without tables, from a directory of its own.
fn camera(name: &str, format: &str) -> (Vec<Vec<u8>>, String) {
    let jpegs = run(&format!(
        "videotestsrc num-buffers={FRAMES} pattern=smpte horizontal-speed=9
         ! video/x-raw,format={format},width=320,height=240 ! jpegenc ! fakesink name=sink"
    ));
    assert_eq!(jpegs.len(), FRAMES);
    let directory = scratch(&format!("huffman-{name}-{format}"));
    fs::create_dir_all(&directory).expect("a directory");
    for (i, jpeg) in jpegs.iter().enumerate() {
        assert!(!tables(jpeg).is_empty());
        let bare = without_tables(jpeg);
        assert!(tables(&bare).is_empty());
        fs::write(directory.join(format!("{i}.jpg")), bare).expect("a picture");
    }
    let files = directory.join("%d.jpg");
    let source = format!(
        "multifilesrc location={} caps=image/jpeg,framerate=25/1",
        files.display()
    );
    (jpegs, source)
}

/// What OpenCV sees of a stream in a file.
fn seen(name: &str, stream: &[u8]) -> Vec<u8> {
    let file = scratch(name);
    let out = file.with_extension("rgb");
    fs::write(&file, stream).expect("a file");
    let mut decoder = peer("opencv_decoder.py");
    decoder.arg("--file").arg(&file).arg(&out);
    Program::start(&mut decoder).finish();
    fs::read(out).expect("pictures")
}

/// Every table that a picture was coded with is in it again, ahead of its scan, and
/// nothing else has changed.
#[track_caller]
fn expect_complete(got: &[Vec<u8>], sent: &[Vec<u8>]) {
    assert_eq!(got.len(), sent.len());
    for (got, sent) in got.iter().zip(sent) {
        // A grey picture needs two of the four; jpegenc wrote no others.
        for table in split(&tables(sent)) {
            assert!(split(&tables(got)).contains(&table));
        }
        assert_eq!(without_tables(got), without_tables(sent));
    }
}

/// Tables, one by one.
fn split(mut tables: &[u8]) -> Vec<&[u8]> {
    let mut all = vec![];
    while let [_, counts @ ..] = tables {
        let len: usize = counts[..16].iter().map(|&count| usize::from(count)).sum();
        let (table, rest) = tables.split_at(17 + len);
        all.push(table);
        tables = rest;
    }
    all
}

#[test]
fn payloader_gives_tables() {
    for format in ["I420", "GRAY8"] {
        let (jpegs, source) = camera("payloader", format);
        for payload in ["jpeg", "base64"] {
            let got = run(&format!(
                "{source} ! b64jpegpay payload={payload} ! b64jpegdepay ! fakesink name=sink"
            ));
            expect_complete(&got, &jpegs);
        }
    }
}

#[test]
fn server_gives_tables() {
    let (jpegs, source) = camera("server", "I420");
    let server = ServerFixture::launch(&source, "wait-for-client=true max-clients=1").play();
    let got: Vec<_> = Viewer::connect(server.address()).collect();
    server.wait_for_clean_end();
    expect_complete(&got, &jpegs);
    assert_eq!(
        seen("huffman-sent.b64jpeg", &stream(&got)),
        seen("huffman-coded.b64jpeg", &stream(&jpegs))
    );
}

/// From others they come as they are, and jpegdec knows what to do.
#[test]
fn pictures_without_tables_are_shown() {
    let (jpegs, _) = camera("shown", "I420");
    let bare: Vec<_> = jpegs.iter().map(|jpeg| without_tables(jpeg)).collect();
    let [shown, expected] = [&bare, &jpegs].map(|jpegs| {
        let server = RawServer::new().serve(stream(jpegs));
        run(&format!(
            "b64jpegclientsrc port={} reconnect=false ! jpegdec
             ! fakesink name=sink sync=false",
            server.port
        ))
    });
    assert_eq!(shown.len(), FRAMES);
    assert!(shown == expected);
}
