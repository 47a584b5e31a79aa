// SPDX-License-Identifier: MPL-2.0

//! The protocol core compared with named peers, on the same bytes in the same run.
//!
//! Throughput counts bytes of JPEG, so that the results of a group can be compared. `memcpy` is
//! the lower bound; `base64` is the rust-base64 crate.
//!
//! `cargo bench --bench wire [-- GROUP]`

use std::{hint::black_box, time::Duration};

use b64jpeg_wire::{
    AcceptedFramings, Deframer, FrameLimits, FrameStream, Framing, Header, OutgoingFrame,
    ParseProgress, ParseStatus, Payload, StreamStep, parse,
};
use base64::{
    Engine,
    engine::{
        Simd,
        general_purpose::{GeneralPurposeConfig, STANDARD},
    },
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// A thumbnail, 800x450 at quality 80, and a large photograph.
const SIZES: [(&str, usize); 3] = [("6 KB", 6_000), ("80 KB", 80_000), ("2 MB", 2_000_000)];
const TYPICAL: usize = SIZES[1].1;

/// Length of one read: `tcpclientsrc` never reads more.
const READ_LEN: usize = 4096;

fn be32_base64() -> Framing {
    Framing::default()
}

fn bare_jpeg() -> Framing {
    Framing::new(Header::None, Payload::Jpeg).expect("a valid combination")
}

/// Reproducible noise.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| byte()).collect()
}

/// `len` bytes with the markers of a JPEG, and noise instead of coded data.
fn jpeg(len: usize) -> Vec<u8> {
    let mut jpeg = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\
        \xff\xc0\0\x0b\x08\x01\xc2\x03\x20\x01\x01\x11\0\xff\xc4\0\x02\xff\xda\0\x08\x01\x01\0\0\x3f\0"
        .to_vec();
    let mut data = noise(len - jpeg.len() - 2);
    for i in 1..data.len() {
        if data[i - 1] == 0xff {
            data[i] = 0;
        }
    }
    // An FF here would make data of EOI.
    *data.last_mut().expect("longer than its header") = 0;
    jpeg.append(&mut data);
    jpeg.extend_from_slice(b"\xff\xd9");
    jpeg
}

fn wire(jpeg: &[u8], framing: Framing) -> Vec<u8> {
    let picture = OutgoingFrame::new(jpeg).expect("a JPEG");
    let mut wire = vec![0; picture.wire_len(framing).expect("short enough")];
    picture.encode(framing, &mut wire);
    wire
}

fn simd() -> Simd {
    Simd::standard(GeneralPurposeConfig::new())
}

/// Runs `wire` through `stream`, decodes each frame to `out`, and returns the number of frames.
/// Bytes between the frames are skipped.
fn follow(stream: &mut FrameStream, wire: &[u8], out: &mut [u8]) -> usize {
    let (mut at, mut frames) = (0, 0);
    loop {
        let data = &wire[at..];
        match stream.step(data, false) {
            StreamStep::Frame(frame) => {
                let payload = stream.framing().expect("a frame has one").payload();
                match payload.decode(&data[frame.payload.clone()], out) {
                    Ok(len) => {
                        black_box(&out[..len]);
                        stream.accept(&frame);
                        at += frame.len;
                        frames += 1;
                    }
                    Err(error) => {
                        stream.reject(error);
                    }
                }
            }
            StreamStep::Skip(len) => at += len,
            // The stream searches for the next frame.
            StreamStep::Bad(_) => {}
            StreamStep::Need(_) => return frames,
        }
    }
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    for (name, len) in SIZES {
        let jpeg = jpeg(len);
        let mut out = wire(&jpeg, be32_base64());
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::new("memcpy", name), |b| {
            b.iter(|| black_box(&mut out)[..len].copy_from_slice(black_box(&jpeg)));
        });
        group.bench_function(BenchmarkId::new("base64 scalar", name), |b| {
            b.iter(|| STANDARD.encode_slice(black_box(&jpeg), black_box(&mut out)));
        });
        group.bench_function(BenchmarkId::new("base64 Simd", name), |b| {
            let simd = simd();
            b.iter(|| simd.encode_slice(black_box(&jpeg), black_box(&mut out)));
        });
        group.bench_function(BenchmarkId::new("OutgoingFrame", name), |b| {
            b.iter(|| {
                let picture = OutgoingFrame::new(black_box(&jpeg)).expect("a JPEG");
                picture.encode(be32_base64(), black_box(&mut out));
            });
        });
    }
    group.finish();
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    for (name, len) in SIZES {
        let jpeg = jpeg(len);
        let wire = wire(&jpeg, be32_base64());
        let text = &wire[be32_base64().header().size()..];
        let mut out = vec![0; Payload::Base64.decoded_capacity(text.len())];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::new("memcpy", name), |b| {
            b.iter(|| black_box(&mut out)[..len].copy_from_slice(black_box(&jpeg)));
        });
        group.bench_function(BenchmarkId::new("base64 scalar", name), |b| {
            b.iter(|| STANDARD.decode_slice(black_box(text), black_box(&mut out)));
        });
        group.bench_function(BenchmarkId::new("base64 Simd", name), |b| {
            let simd = simd();
            b.iter(|| simd.decode_slice(black_box(text), black_box(&mut out)));
        });
        group.bench_function(BenchmarkId::new("parse", name), |b| {
            b.iter(|| {
                let mut progress = ParseProgress::default();
                let limits = FrameLimits::default();
                let status = parse(black_box(&wire), be32_base64(), &limits, &mut progress);
                let Ok(ParseStatus::Frame(frame)) = status else {
                    panic!("{status:?} is not a frame");
                };
                Payload::Base64.decode(&wire[frame.payload], black_box(&mut out))
            });
        });
        group.bench_function(BenchmarkId::new("FrameStream", name), |b| {
            let mut stream = FrameStream::new(be32_base64().into(), FrameLimits::default());
            b.iter(|| assert_eq!(follow(&mut stream, black_box(&wire), &mut out), 1));
        });
        for (how, read) in [("Deframer", wire.len()), ("Deframer, 4 KB reads", READ_LEN)] {
            group.bench_function(BenchmarkId::new(how, name), |b| {
                let mut deframer = Deframer::new(be32_base64().into(), FrameLimits::default());
                b.iter(|| deframe(&mut deframer, black_box(&wire), read));
            });
        }
    }
    group.finish();
}

/// Feeds one frame to `deframer`, in reads of `read` bytes. The end of a long one without a length
/// is noticed at the end of the stream.
fn deframe(deframer: &mut Deframer, wire: &[u8], read: usize) -> Vec<u8> {
    let mut jpeg = None;
    for piece in wire.chunks(read) {
        deframer.push(piece);
        jpeg = deframer.next();
    }
    let jpeg = jpeg.or_else(|| {
        deframer.finish();
        deframer.next()
    });
    jpeg.expect("a frame").expect("a good one")
}

/// JPEGs without a header, separated by their markers.
fn bare(c: &mut Criterion) {
    let mut group = c.benchmark_group("bare");
    for (name, len) in SIZES {
        let jpeg = jpeg(len);
        let mut out = vec![0; len];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::new("memchr of FF", name), |b| {
            b.iter(|| memchr::memchr_iter(0xff, black_box(&jpeg)).count());
        });
        group.bench_function(BenchmarkId::new("FrameStream", name), |b| {
            let mut stream = FrameStream::new(bare_jpeg().into(), FrameLimits::default());
            b.iter(|| assert_eq!(follow(&mut stream, black_box(&jpeg), &mut out), 1));
        });
        group.bench_function(BenchmarkId::new("Deframer, 4 KB reads", name), |b| {
            b.iter(|| {
                let mut deframer = Deframer::new(bare_jpeg().into(), FrameLimits::default());
                deframe(&mut deframer, black_box(&jpeg), READ_LEN)
            });
        });
    }
    group.finish();
}

/// The first two frames of a stream, with the framing given and detected.
fn detect(c: &mut Criterion) {
    let mut group = c.benchmark_group("detect");
    let jpeg = jpeg(TYPICAL);
    let mut out = vec![0; TYPICAL + 3];
    group.throughput(Throughput::Bytes(2 * TYPICAL as u64));
    for framing in Framing::all() {
        let frames = wire(&jpeg, framing).repeat(2);
        for (how, accept) in [
            ("given", framing.into()),
            ("auto", AcceptedFramings::default()),
        ] {
            group.bench_function(BenchmarkId::new(framing.to_string(), how), |b| {
                b.iter(|| {
                    let mut stream = FrameStream::new(accept, FrameLimits::default());
                    assert_eq!(follow(&mut stream, black_box(&frames), &mut out), 2);
                });
            });
        }
    }
    group.finish();
}

/// A megabyte of garbage between good frames. Throughput counts the garbage.
fn resync(c: &mut Criterion) {
    const GARBAGE: usize = 1 << 20;

    let mut group = c.benchmark_group("resync");
    group.throughput(Throughput::Bytes(GARBAGE as u64));
    let frame = wire(&jpeg(TYPICAL), be32_base64());
    let mut out = vec![0; TYPICAL + 3];
    let kinds = [
        ("noise", noise(GARBAGE)),
        ("zeros", vec![0; GARBAGE]),
        ("text", b"All work and no play. ".repeat(GARBAGE / 22)),
        // Each header makes a candidate that only the bytes after its end refute.
        ("false starts", b"\0\0\x10\0/9j/".repeat(GARBAGE / 8)),
    ];
    for (kind, garbage) in kinds {
        let needle = Payload::Base64.start();
        group.bench_function(BenchmarkId::new("memmem", kind), |b| {
            b.iter(|| memchr::memmem::find_iter(black_box(&garbage), needle).count());
        });

        let frames = frame.repeat(2);
        let stream = [&*frames, &*garbage, &*frames].concat();
        for (how, accept) in [
            ("given", be32_base64().into()),
            ("auto", AcceptedFramings::default()),
        ] {
            group.bench_function(BenchmarkId::new(how, kind), |b| {
                b.iter(|| {
                    let mut follower = FrameStream::new(accept, FrameLimits::default());
                    assert_eq!(follow(&mut follower, black_box(&stream), &mut out), 4);
                });
            });
        }
    }
    group.finish();
}

/// A Socket.IO event with a JPEG.
#[cfg(feature = "web")]
fn socketio(c: &mut Criterion) {
    use b64jpeg_wire::socketio::{PacketDecoder, PacketLimits, PictureEvent};

    let mut group = c.benchmark_group("socketio");
    let event = PictureEvent::new("/", "stream", Some("front"));
    for (name, len) in SIZES {
        let jpeg = jpeg(len);
        let picture = OutgoingFrame::new(&jpeg).expect("a JPEG");
        let text = event.text(&picture);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::new("encode, serde_json", name), |b| {
            b.iter(|| {
                let base64 = STANDARD.encode(black_box(&jpeg));
                let json = serde_json::json!(["stream", { "front": base64 }]);
                format!("42{json}")
            });
        });
        group.bench_function(BenchmarkId::new("encode, PictureEvent", name), |b| {
            b.iter(|| event.text(black_box(&picture)));
        });
        group.bench_function(BenchmarkId::new("decode, serde_json", name), |b| {
            b.iter(|| serde_json::from_str::<serde_json::Value>(&black_box(&*text)[2..]));
        });
        group.bench_function(BenchmarkId::new("decode, PacketDecoder", name), |b| {
            let mut decoder = PacketDecoder::new(PacketLimits::default());
            b.iter(|| {
                let packet = decoder.text(black_box(&text)).expect("our own text");
                assert!(packet.is_some());
            });
        });
    }
    group.finish();
}

#[cfg(not(feature = "web"))]
fn socketio(_: &mut Criterion) {}

fn config() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = wire_benches;
    config = config();
    targets = encode, decode, bare, detect, resync, socketio
}
criterion_main!(wire_benches);
