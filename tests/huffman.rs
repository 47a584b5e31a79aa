// SPDX-License-Identifier: MPL-2.0

//! Motion JPEG without Huffman tables, as many USB cameras send it. OpenCV and GStreamer assume
//! the standard tables; other viewers need the tables in the JPEG.

mod common;

use std::fs;

use common::{
    peer::peer,
    pipeline::{Pipeline, scratch},
    process::Program,
    raw_server::RawServer,
    server_fixture::ServerFixture,
    viewer::Viewer,
    wire::DEFAULT,
};

const FRAMES: usize = 5;
const DHT: u8 = 0xc4;
const SOS: u8 = 0xda;

/// The header segments of a JPEG, each with marker and length, and the rest.
fn segments_and_rest(jpeg: &[u8]) -> (Vec<&[u8]>, &[u8]) {
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
    let (segments, _) = segments_and_rest(jpeg);
    let tables = segments.into_iter().filter(|segment| segment[1] == DHT);
    tables.flat_map(|segment| &segment[4..]).copied().collect()
}

fn without_tables(jpeg: &[u8]) -> Vec<u8> {
    let (mut segments, rest) = segments_and_rest(jpeg);
    segments.retain(|segment| segment[1] != DHT);
    [&jpeg[..2], &segments.concat(), rest].concat()
}

/// Runs a pipeline; returns the buffers that reach its element `sink`.
fn run(line: &str) -> Vec<Vec<u8>> {
    let pipeline = Pipeline::launch(line);
    let buffers = pipeline.collect("sink", "sink");
    pipeline.play();
    pipeline.wait_for_clean_end();
    buffers.take()
}

/// JPEGs of jpegenc, which have the standard tables, and a source of the same JPEGs without
/// tables.
fn camera_without_tables(name: &str, format: &str) -> (Vec<Vec<u8>>, String) {
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

/// Pixels that OpenCV decodes from a stream in a file.
fn decoded_by_opencv(name: &str, stream: &[u8]) -> Vec<u8> {
    let file = scratch(name);
    let out = file.with_extension("rgb");
    fs::write(&file, stream).expect("a file");
    let mut decoder = peer("opencv_decoder.py");
    decoder.arg("--file").arg(&file).arg(&out);
    Program::start(&mut decoder).finish();
    fs::read(out).expect("pictures")
}

/// Expects each JPEG to have all tables that it was encoded with, ahead of its scan, and no other
/// change.
#[track_caller]
fn expect_tables_added(got: &[Vec<u8>], sent: &[Vec<u8>]) {
    assert_eq!(got.len(), sent.len());
    for (got, sent) in got.iter().zip(sent) {
        // A greyscale JPEG needs two of the four tables; jpegenc wrote only these.
        for table in split(&tables(sent)) {
            assert!(split(&tables(got)).contains(&table));
        }
        assert_eq!(without_tables(got), without_tables(sent));
    }
}

/// Splits the contents of table segments into single tables.
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
fn payloader_adds_missing_tables() {
    for format in ["I420", "GRAY8"] {
        let (jpegs, source) = camera_without_tables("payloader", format);
        for payload in ["jpeg", "base64"] {
            let got = run(&format!(
                "{source} ! b64jpegpay payload={payload} ! b64jpegdepay ! fakesink name=sink"
            ));
            expect_tables_added(&got, &jpegs);
        }
    }
}

#[test]
fn server_adds_missing_tables() {
    let (jpegs, source) = camera_without_tables("server", "I420");
    let server = ServerFixture::launch(&source, "wait-for-client=true max-clients=1").play();
    let got: Vec<_> = Viewer::connect(server.address()).collect();
    server.wait_for_clean_end();
    expect_tables_added(&got, &jpegs);
    assert_eq!(
        decoded_by_opencv("huffman-sent.b64jpeg", &DEFAULT.stream(&got)),
        decoded_by_opencv("huffman-coded.b64jpeg", &DEFAULT.stream(&jpegs))
    );
}

/// The client does not add tables, and jpegdec assumes the standard ones.
#[test]
fn jpeg_without_tables_is_decoded() {
    let (jpegs, _) = camera_without_tables("shown", "I420");
    let bare: Vec<_> = jpegs.iter().map(|jpeg| without_tables(jpeg)).collect();
    let [shown, expected] = [&bare, &jpegs].map(|jpegs| {
        let server = RawServer::new().serve(DEFAULT.stream(jpegs));
        run(&format!(
            "b64jpegclientsrc port={} reconnect=false ! jpegdec
             ! fakesink name=sink sync=false",
            server.port
        ))
    });
    assert_eq!(shown.len(), FRAMES);
    assert!(shown == expected);
}
