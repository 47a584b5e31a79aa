// SPDX-License-Identifier: MPL-2.0

//! The framings, compared with a naive model and golden bytes, and on damaged streams.

mod naive;
#[path = "../common/property.rs"]
mod property;
mod scenario;

use std::{fs, iter, path::Path, sync::mpsc, thread, time::Duration};

use b64jpeg_wire::{
    AcceptedFramings, Deframer, ForeignProtocol, FrameError, FrameLimits, FrameStream, Framing,
    Header, OutgoingFrame, ParseProgress, ParseStatus, Payload, StreamStep, WireError,
    jpeg::{self, Origin, stamps},
    parse,
};
use property::check;
use proptest::{collection::vec, prelude::*, sample::Index};
use scenario::{
    Received, WHOLE, Wire, accepts, anything, assert_delivered, damaged, filler, frames, framings,
    jpegs, jpegs_for, noise, odd_jpegs, pieces, receive, until_error,
};

/// Limits that the streams of [`scenario`] sometimes exceed.
const SMALL: FrameLimits = limits(3000);

const fn limits(max_frame: usize) -> FrameLimits {
    FrameLimits {
        max_frame,
        max_pixels: FrameLimits::DEFAULT_MAX_PIXELS,
    }
}

fn all(jpegs: &[Vec<u8>]) -> Received {
    jpegs.iter().cloned().map(Ok).collect()
}

fn encode(framing: Framing, picture: OutgoingFrame) -> Vec<u8> {
    let mut frame = vec![0; picture.wire_len(framing).unwrap()];
    picture.encode(framing, &mut frame);
    frame
}

/// SOI, comments that make up the length, EOI.
fn jpeg_of_len(len: usize) -> Vec<u8> {
    let mut jpeg = b"\xff\xd8".to_vec();
    while jpeg.len() + 2 < len {
        let contents = (len - jpeg.len() - 6).min(60_000);
        jpeg.extend([0xff, 0xfe]);
        jpeg.extend((contents as u16 + 2).to_be_bytes());
        jpeg.resize(jpeg.len() + contents, b'.');
    }
    jpeg.extend(b"\xff\xd9");
    assert_eq!(jpeg.len(), len);
    jpeg
}

// Frames

#[test]
fn outgoing_frame_equals_that_of_python() {
    let values = framings().prop_flat_map(|framing| (Just(framing), jpegs_for(framing)));
    check(300, values, |(framing, jpeg)| {
        let picture = OutgoingFrame::new(&jpeg).unwrap();
        assert_eq!(encode(framing, picture), naive::encode(framing, &jpeg));
    });
}

#[test]
fn outgoing_frame_info_equals_that_of_its_jpeg() {
    check(300, odd_jpegs(), |jpeg| {
        let frame = OutgoingFrame::new(&jpeg).unwrap();
        assert_eq!(frame.jpeg(), &*jpeg::with_tables(&jpeg));
        assert_eq!(*frame.info(), jpeg::JpegInfo::of(frame.jpeg()));
        assert_eq!(*frame.info(), jpeg::JpegInfo::of(&jpeg));
    });
}

#[test]
fn stamp_capture_time_is_received_and_the_rest_unchanged() {
    let values = (framings(), jpegs(), 0..10_u64.pow(19));
    check(300, values, |(framing, jpeg, time)| {
        let frame = encode(
            framing,
            OutgoingFrame::new(&jpeg).unwrap().captured_at(time),
        );
        let received = receive(framing.into(), FrameLimits::default(), &frame, WHOLE);
        let [Ok(stamped)] = &received[..] else {
            panic!("{received:?}");
        };
        assert_eq!(jpeg::JpegInfo::of(stamped).capture_time, Some(time));
        assert!(stamped.ends_with(&jpeg[2..]));
        assert_eq!(
            jpeg::JpegInfo::of(stamped).size,
            jpeg::JpegInfo::of(&jpeg).size
        );
    });
}

/// Valid names, and others: too long, empty, with control characters.
fn names() -> impl Strategy<Value = String> {
    let name = |chars| vec(chars, 0..=210).prop_map(String::from_iter);
    prop_oneof![
        name(prop_oneof![Just('a'), Just('/')].boxed()),
        name(any::<char>().boxed()),
        vec(prop_oneof![9 => Just('é'), 1 => any::<char>()], 0..=110).prop_map(String::from_iter),
    ]
}

fn is_name(text: &str) -> bool {
    (1..=200).contains(&text.len()) && text.chars().all(|c| !c.is_control())
}

#[test]
fn stamp_origin_is_received_and_the_rest_unchanged() {
    let time = prop::option::of(0..10_u64.pow(19));
    check(600, (jpegs(), names(), time), |(jpeg, name, time)| {
        let Some(origin) = Origin::new(&name) else {
            assert!(!is_name(&name), "{name:?}");
            return;
        };
        assert!(is_name(&name), "{name:?}");
        let stamped = [&stamps(time, Some(&origin)), &jpeg[2..]].concat();
        assert_eq!(Origin::of(&stamped), Some(&*name));
        assert_eq!(jpeg::JpegInfo::of(&stamped).capture_time, time);
        assert_eq!(
            jpeg::JpegInfo::of(&stamped).size,
            jpeg::JpegInfo::of(&jpeg).size
        );
        let received = receive(
            AcceptedFramings::default(),
            FrameLimits::default(),
            &stamped,
            WHOLE,
        );
        assert_eq!(received, [Ok(stamped.clone())]);

        // A relay puts its own name in front.
        let relay = Origin::new("relay").expect("a name");
        let again = [&stamps(None, Some(&relay)), &stamped[2..]].concat();
        assert_eq!(Origin::of(&again), Some("relay"));
        assert_eq!(jpeg::JpegInfo::of(&again).capture_time, time);
    });
}

/// A comment may contain anything.
#[test]
fn origin_of_any_comment_is_valid_name_or_none() {
    let text = prop_oneof![
        2 => names().prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..=210),
    ];
    check(600, (jpegs(), text), |(jpeg, text)| {
        let comment = [b"b64jpeg origin=", &text[..]].concat();
        let len = (comment.len() as u16 + 2).to_be_bytes();
        let [named, other] = [b"\xff\xfe", b"\xff\xe5"]
            .map(|marker| [b"\xff\xd8", &marker[..], &len, &comment, &jpeg[2..]].concat());
        let name = str::from_utf8(&text).ok().filter(|text| is_name(text));
        assert_eq!(Origin::of(&named), name);
        assert_eq!(Origin::of(&other), None, "not a comment");
    });
}

#[test]
fn origin_without_its_comment_is_none() {
    check(300, odd_jpegs(), |jpeg| {
        assert_eq!(Origin::of(&jpeg), None);
        let time = [&stamps(Some(7), None), &jpeg[2..]].concat();
        assert_eq!(Origin::of(&time), None);
        assert_eq!([&stamps(None, None), &jpeg[2..]].concat(), jpeg);
    });
}

#[test]
fn golden_bytes_are_encoded_and_decoded() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let file = |name: &str| fs::read(vectors.join(name)).expect(name);
    let manifest = String::from_utf8(file("manifest.txt")).unwrap();
    let lines = manifest.lines().filter(|line| !line.starts_with('#'));
    let mut kinds = vec![];
    for line in lines {
        let words = line.split(' ').collect::<Vec<_>>();
        let [name, header, payload, kind, names @ ..] = &words[..] else {
            panic!("{line}");
        };
        let framing = Framing::new(header.parse().unwrap(), payload.parse().unwrap()).unwrap();
        let jpegs = names.iter().map(|name| file(name)).collect::<Vec<_>>();
        let bytes = file(name);
        if *kind == "exact" {
            let pictures = jpegs.iter().map(|jpeg| OutgoingFrame::new(jpeg).unwrap());
            let written = pictures.flat_map(|picture| encode(framing, picture));
            assert_eq!(written.collect::<Vec<_>>(), bytes, "{name}");
            kinds.push(framing);
        }
        for accept in [framing.into(), AcceptedFramings::default()] {
            for pieces in [WHOLE, &[1]] {
                let received = receive(accept, FrameLimits::default(), &bytes, pieces);
                assert_eq!(received, all(&jpegs), "{name}");
            }
        }
    }
    assert!(Framing::all().all(|framing| kinds.contains(&framing)));
}

// Base64

fn decode(text: &[u8]) -> Result<Vec<u8>, WireError> {
    let mut out = vec![0; Payload::Base64.decoded_capacity(text.len())];
    let len = Payload::Base64.decode(text, &mut out)?;
    out.truncate(len);
    Ok(out)
}

#[test]
fn base64_odd_text_decodes_like_model() {
    let odd = prop_oneof![
        4 => Just(""), 1 => Just("\r\n"), 1 => Just(" "), 1 => Just("="), 1 => Just("A"), 1 => Just("-")
    ];
    let values = (
        vec(any::<u8>(), 0..400),
        vec((any::<Index>(), odd), 0..6),
        0..3_usize,
    );
    check(2000, values, |(bytes, odds, unpad)| {
        let mut text = String::from_utf8(naive::payload(Payload::Base64, &bytes)).unwrap();
        text.truncate(text.len().saturating_sub(unpad));
        for (at, odd) in odds {
            text.insert_str(at.index(text.len() + 1), odd);
        }
        assert_eq!(
            decode(text.as_bytes()),
            naive::decode(text.as_bytes()),
            "{text}"
        );
    });
}

#[test]
fn base64_bad_byte_at_any_offset_is_named() {
    // Longer than any SIMD register, and with each kind of end.
    for len in [192, 193, 194] {
        let text = naive::payload(Payload::Base64, &vec![0xa5; len]);
        for at in 0..text.len() {
            for byte in 0..=255 {
                let mut text = text.clone();
                text[at] = byte;
                assert_eq!(decode(&text), naive::decode(&text), "{byte:#x} at {at}");
            }
        }
    }
}

// Whole streams

#[test]
fn deframer_whole_stream_gives_the_jpegs_sent() {
    let values = framings().prop_flat_map(|framing| {
        let first = jpegs().prop_map(move |jpeg| Wire::of(framing, &[jpeg]));
        let part = prop_oneof![3 => frames(framing, 1..3), 1 => filler(framing)];
        let rest = vec(part, 0..5);
        (Just(framing), accepts(framing), first, rest, pieces())
    });
    check(500, values, |(framing, accept, first, rest, pieces)| {
        let wire = iter::once(first).chain(rest).collect::<Wire>();
        let received = receive(accept, FrameLimits::default(), &wire.bytes, &pieces);
        assert_eq!(received, all(&wire.whole), "{framing}");
    });
}

#[test]
fn deframer_framing_is_detected() {
    let values = framings().prop_flat_map(|framing| (Just(framing), frames(framing, 3)));
    check(500, values, |(framing, wire)| {
        let mut deframer = Deframer::new(AcceptedFramings::default(), FrameLimits::default());
        deframer.push(&wire.bytes);
        deframer.finish();
        while deframer.next().is_some() {}
        assert_eq!(deframer.stream().framing(), Some(framing));
        assert_eq!(deframer.stream().frames(), 3);
        assert_eq!(deframer.stream().resyncs(), 0);
    });
}

/// 65,792 and 131,328 bytes are `00 01 01 00` and `00 02 01 00`: valid in both byte orders.
#[test]
fn deframer_length_valid_in_both_byte_orders_loses_no_frame() {
    let palindrome = (65_792, 65_792 / 4 * 3);
    let other = (131_328, 131_328 / 4 * 3);
    let plain = (1000, 750);
    for header in [Header::Be32, Header::Le32] {
        for payload in Payload::ALL {
            let framing = Framing::new(header, payload).unwrap();
            for lens in [
                vec![palindrome; 4],
                vec![palindrome, plain, plain],
                vec![palindrome, palindrome, palindrome, plain, plain],
                vec![other, plain],
                vec![other, palindrome, other, plain],
            ] {
                let lens = lens.iter().map(|(wire, jpeg)| match payload {
                    Payload::Base64 => *jpeg,
                    Payload::Jpeg => *wire,
                });
                let wire = Wire::of(framing, &lens.map(jpeg_of_len).collect::<Vec<_>>());
                for pieces in [WHOLE, &[1000], &[1]] {
                    let received = receive(
                        AcceptedFramings::default(),
                        FrameLimits::default(),
                        &wire.bytes,
                        pieces,
                    );
                    assert_eq!(received, all(&wire.whole), "{framing}");
                }
            }
        }
    }
}

/// A zero length of four bytes and a length of four bytes could be one length of eight bytes.
#[test]
fn deframer_zero_length_is_not_part_of_longer_length() {
    let some = || vec(jpegs(), 1..3).prop_map(|jpegs| Wire::of(Framing::default(), &jpegs));
    check(
        200,
        (some(), some(), some(), pieces()),
        |(a, b, c, pieces)| {
            let zero = Wire::damage(vec![0; 4]);
            let wire = Wire::from_iter([zero.clone(), a, zero.clone(), b, zero, c]);
            let received = receive(
                AcceptedFramings::default(),
                FrameLimits::default(),
                &wire.bytes,
                &pieces,
            );
            assert_eq!(received, all(&wire.whole));
        },
    );
}

// Pieces

#[test]
fn deframer_any_pieces_give_same_frames_and_errors() {
    let values =
        framings().prop_flat_map(|framing| (accepts(framing), anything(framing), pieces()));
    check(2000, values, |(accept, wire, pieces)| {
        let whole = receive(accept, SMALL, &wire.bytes, WHOLE);
        assert_eq!(receive(accept, SMALL, &wire.bytes, &pieces), whole);
    });
}

#[test]
fn parse_more_bytes_do_not_change_result() {
    let values = framings().prop_flat_map(|framing| (Just(framing), anything(framing)));
    check(500, values, |(framing, wire)| {
        let mut progress = ParseProgress::default();
        let mut need = 0;
        let mut answer = None;
        for len in 0..=wire.bytes.len() {
            let data = &wire.bytes[..len];
            let fresh = parse(data, framing, &SMALL, &mut ParseProgress::default());
            match (&answer, fresh) {
                (None, Ok(ParseStatus::Need(more))) => {
                    assert!(more > len && more >= need, "{more} of {len} bytes");
                    need = more;
                    let resumed = parse(data, framing, &SMALL, &mut progress);
                    assert_eq!(resumed, Ok(ParseStatus::Need(more)));
                }
                (None, fresh) => {
                    let skips = matches!(fresh, Ok(ParseStatus::Skip(_)));
                    assert!(
                        len >= need || skips,
                        "{need} bytes were requested: {fresh:?}"
                    );
                    assert_eq!(parse(data, framing, &SMALL, &mut progress), fresh);
                    answer = Some(fresh);
                }
                // More filler may follow.
                (Some(Ok(ParseStatus::Skip(before))), Ok(ParseStatus::Skip(now))) => {
                    assert!(now >= *before)
                }
                (Some(before), now) => assert_eq!(&now, before),
            }
        }
    });
}

#[test]
fn deframer_large_frames_in_pieces_give_same_frames_and_errors() {
    let values = framings().prop_flat_map(|framing| {
        let wrong = (0..2_000_000_u64).prop_map(move |len| naive::length(framing.header(), len));
        (
            accepts(framing),
            Just(framing),
            vec(200_000..900_000_usize, 2..4),
            wrong,
            pieces(),
        )
    });
    check(15, values, |(accept, framing, lens, wrong, pieces)| {
        let jpegs = lens.into_iter().map(jpeg_of_len).collect::<Vec<_>>();
        let wire = Wire::of(framing, &jpegs);
        let pieces = pieces.iter().map(|len| len * 97).collect::<Vec<_>>();
        let limits = limits(1_300_000);
        assert_eq!(receive(accept, limits, &wire.bytes, &pieces), all(&jpegs));

        let bytes = [
            &wire.bytes[..],
            &wrong,
            framing.payload().start(),
            &wire.bytes,
        ]
        .concat();
        let whole = receive(accept, limits, &bytes, WHOLE);
        assert_eq!(receive(accept, limits, &bytes, &pieces), whole);
    });
}

// Damage

#[test]
fn deframer_up_to_first_error_equals_model() {
    let values = framings().prop_flat_map(|framing| (Just(framing), anything(framing)));
    // Sides are up to 5,000.
    let limits = FrameLimits {
        max_pixels: 20_000_000,
        ..SMALL
    };
    check(2000, values, |(framing, wire)| {
        let received = until_error(receive(framing.into(), limits, &wire.bytes, WHOLE));
        let model = naive::read(&wire.bytes, framing, &limits);
        match received.1.as_ref().map(|error| &error.error) {
            // The model does not know other protocols.
            Some(WireError::Foreign(_)) => assert_eq!(model.1.unwrap().offset, 0),
            // The model trusts every length.
            Some(WireError::NoEnd) => {
                let refused = model.1.is_some_and(|error| error.error.is_picture_error());
                assert!(model.0.starts_with(&received.0));
                assert!(model.0.len() > received.0.len() || refused);
            }
            _ => assert_eq!(received, model),
        }
    });
}

#[test]
fn deframer_damage_between_frames_loses_no_whole_frame() {
    let values = framings().prop_flat_map(|framing| (accepts(framing), damaged(framing), pieces()));
    check(2000, values, |(accept, wire, pieces)| {
        let received = receive(accept, FrameLimits::default(), &wire.bytes, &pieces);
        assert_delivered(&wire.whole, &received);
    });
}

#[test]
fn deframer_megabytes_of_garbage_lose_no_whole_frame() {
    let values = framings().prop_flat_map(|framing| {
        let some = || vec(jpegs(), 2..4).prop_map(move |jpegs| Wire::of(framing, &jpegs));
        (
            accepts(framing),
            some(),
            noise(framing),
            0..4_000_000_usize,
            some(),
        )
    });
    check(40, values, |(accept, before, noise, len, after)| {
        let noise = noise.bytes.repeat(len / noise.bytes.len().max(1));
        let wire = Wire::from_iter([before, Wire::damage(noise), after]);
        for pieces in [WHOLE, &[4096]] {
            let received = receive(accept, FrameLimits::default(), &wire.bytes, pieces);
            assert_delivered(&wire.whole, &received);
        }
    });
}

#[test]
fn deframer_stream_end_inside_frame_is_reported() {
    for framing in Framing::all() {
        let (header, jpeg) = (framing.header(), jpeg_of_len(60));
        let frame = naive::encode(framing, &jpeg);
        // The last line needs no line feed.
        let whole = frame.len() - header.trailer_len();
        for end in 1..frame.len() {
            let bytes = [&frame, &frame[..end]].concat();
            let want = Some(frame.len()).filter(|_| header.has_length() && end >= header.size());
            let last = match end == whole {
                true => Ok(jpeg.clone()),
                false => Err(FrameError {
                    frame: 1,
                    offset: frame.len() as u64,
                    error: WireError::Truncated { have: end, want },
                }),
            };
            for pieces in [WHOLE, &[1]] {
                let received = receive(framing.into(), FrameLimits::default(), &bytes, pieces);
                assert_eq!(
                    received,
                    [Ok(jpeg.clone()), last.clone()],
                    "{framing} {end}"
                );
            }
        }
    }
}

#[test]
fn stream_jump_gives_every_frame_from_there_on() {
    let counted = framings().prop_filter("a thumbnail begins like a JPEG", |framing| {
        framing.header() != Header::None
    });
    let values = counted.prop_flat_map(|framing| {
        let jpegs = vec(jpegs(), 2..6);
        (Just(framing), jpegs, any::<Index>(), pieces())
    });
    check(500, values, |(framing, jpegs, late, pieces)| {
        let frames = jpegs.iter().map(|jpeg| naive::encode(framing, jpeg));
        let frames = frames.collect::<Vec<_>>();
        let bytes = frames.concat();
        let late = late.index(bytes.len());
        let mut start = 0;
        let starts = frames.iter().map(|frame| {
            start += frame.len();
            start - frame.len()
        });
        let missed = starts.filter(|start| *start < late).count();

        let mut stream = FrameStream::new(framing.into(), FrameLimits::default());
        stream.jump(late as u64);
        let (received, _) = follow(stream, &bytes[late..], &pieces);
        // The thumbnail of the first, incomplete one may be received, too.
        assert_delivered(&jpegs[missed..], &received);
    });
}

// Limits

#[test]
fn deframer_frame_longer_than_limit_is_refused() {
    for framing in Framing::all() {
        let jpeg = jpeg_of_len(3000);
        let len = naive::payload(framing.payload(), &jpeg).len();
        let bytes = naive::encode(framing, &jpeg);
        for pieces in [WHOLE, &[100], &[1]] {
            let limited = |max_frame| receive(framing.into(), limits(max_frame), &bytes, pieces);
            assert_eq!(limited(len), [Ok(jpeg.clone())], "{framing}");
            let error = FrameError {
                frame: 0,
                offset: 0,
                error: WireError::TooLong {
                    len: len as u64,
                    max: len as u64 - 1,
                },
            };
            assert_eq!(limited(len - 1).first(), Some(&Err(error)), "{framing}");
        }
    }
}

#[test]
fn deframer_length_alone_holds_no_memory() {
    for framing in Framing::all().filter(|framing| framing.header().has_length()) {
        let start = framing.payload().start();
        for len in [framing.header().max_payload(), (64 << 20) + 1] {
            let mut deframer = Deframer::new(framing.into(), FrameLimits::default());
            deframer.push(&[&naive::length(framing.header(), len), start, &[b'A'; 99]].concat());
            let error = WireError::TooLong { len, max: 64 << 20 };
            assert_eq!(deframer.next().unwrap().unwrap_err().error, error);
            assert_eq!(deframer.next(), None);
            assert!(deframer.held() <= 24);
        }
        // Within the limit it is accepted, but only the bytes received are held.
        let mut deframer = Deframer::new(framing.into(), FrameLimits::default());
        let bytes = [
            &naive::length(framing.header(), 64 << 20),
            start,
            &[b'A'; 99],
        ]
        .concat();
        deframer.push(&bytes);
        assert_eq!(deframer.next(), None);
        assert_eq!(deframer.held(), bytes.len());
    }
}

#[test]
fn deframer_start_without_whole_marker_is_refused() {
    let jpegs = [jpeg_of_len(99), jpeg_of_len(100)];
    for framing in Framing::all().filter(|framing| framing.header() != Header::None) {
        for len in [3, 6] {
            let mut start = vec![0xff; len];
            start[1] = 0xd8;
            let [first, second] = jpegs.each_ref().map(|jpeg| naive::encode(framing, jpeg));
            let bytes = [&first, &naive::encode(framing, &start), &second[..]].concat();
            let error = FrameError {
                frame: 1,
                offset: first.len() as u64,
                error: WireError::NoMarker { len },
            };
            let expected = [
                Ok(jpegs[0].clone()),
                Err(error.clone()),
                Ok(jpegs[1].clone()),
            ];
            for pieces in [WHOLE, &[100], &[1]] {
                let received = receive(framing.into(), FrameLimits::default(), &bytes, pieces);
                assert_eq!(received, expected, "{framing}");
            }
            let model = naive::read(&bytes, framing, &FrameLimits::default());
            assert_eq!(model, (jpegs[..1].to_vec(), Some(error)));
        }
    }
}

#[test]
fn deframer_long_search_is_reported() {
    let bytes = [
        &[0xaa; 10_000][..],
        &naive::encode(Framing::default(), &jpeg_of_len(99)),
    ]
    .concat();
    for pieces in [WHOLE, &[100], &[1]] {
        let received = receive(Framing::default().into(), SMALL, &bytes, pieces);
        let errors = received.iter().filter_map(|item| item.as_ref().err());
        let errors = errors
            .map(|error| (error.offset, &error.error))
            .collect::<Vec<_>>();
        let lost = WireError::Lost { scanned: 3001 };
        let long = WireError::TooLong {
            len: 0xaaaa_aaaa,
            max: 3000,
        };
        assert_eq!(
            errors,
            [(0, &long), (3001, &lost), (6002, &lost), (9003, &lost)]
        );
        assert_delivered(&[jpeg_of_len(99)], &received);
    }
}

#[test]
fn deframer_other_protocols_are_named() {
    let after_length = |header: Header, what: &[u8]| [&naive::length(header, 4096), what].concat();
    let cases = [
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg".to_vec(),
            ForeignProtocol::Http,
        ),
        (
            b"--frame\r\nContent-Type: image/jpeg\r\n".to_vec(),
            ForeignProtocol::Multipart,
        ),
        (
            b"\r\n--frame\r\nContent-Type: image/jpeg".to_vec(),
            ForeignProtocol::Multipart,
        ),
        (
            b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n".to_vec(),
            ForeignProtocol::Rtsp,
        ),
        (
            b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3".to_vec(),
            ForeignProtocol::Ssh,
        ),
        (
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 and much more".to_vec(),
            ForeignProtocol::Tls,
        ),
        (
            b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05numpy and more".to_vec(),
            ForeignProtocol::Pickle,
        ),
        (
            after_length(Header::Le64, b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05numpy"),
            ForeignProtocol::Pickle,
        ),
        (
            after_length(Header::Be32, b"data:image/jpeg;base64,/9j/4AAQ"),
            ForeignProtocol::DataUrl,
        ),
        (
            after_length(Header::Be32, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR and more"),
            ForeignProtocol::Png,
        ),
        (
            after_length(Header::Ascii16, b"\x93NUMPY\x01\0v\0{'descr'"),
            ForeignProtocol::Numpy,
        ),
    ];
    for (bytes, foreign) in cases {
        for accept in [AcceptedFramings::default(), Framing::default().into()] {
            for pieces in [WHOLE, &[5], &[1]] {
                let received = receive(accept, FrameLimits::default(), &bytes, pieces);
                let error = received[0].as_ref().unwrap_err();
                assert_eq!(
                    error.error,
                    WireError::Foreign(foreign),
                    "{}",
                    bytes.escape_ascii()
                );
                assert!(error.error.is_fatal());
                assert_eq!(error.offset, 0);
            }
        }
    }
}

// Cost

/// Drives a [`FrameStream`] like its callers, and counts the steps.
fn follow(mut stream: FrameStream, bytes: &[u8], pieces: &[usize]) -> (Received, usize) {
    let (mut from, mut to, mut need, mut steps) = (0, 0_usize, 0, 0);
    let mut received = vec![];
    for len in pieces.iter().cycle() {
        to = bytes.len().min(to.saturating_add(*len));
        let end = to == bytes.len();
        while end || to - from >= need {
            let data = &bytes[from..to];
            steps += 1;
            need = 0;
            match stream.step(data, end) {
                StreamStep::Need(len) => {
                    need = len;
                    break;
                }
                StreamStep::Skip(len) => from += len,
                StreamStep::Bad(error) => received.push(Err(error)),
                StreamStep::Frame(frame) => {
                    let payload = &data[frame.payload.clone()];
                    let decoded = match stream.framing().unwrap().payload() {
                        Payload::Base64 => naive::decode(payload),
                        Payload::Jpeg => Ok(payload.to_vec()),
                    };
                    match decoded {
                        Ok(jpeg) => {
                            stream.accept(&frame);
                            from += frame.len;
                            received.push(Ok(jpeg));
                        }
                        Err(error) => received.push(Err(stream.reject(error))),
                    }
                }
            }
        }
        if end {
            break;
        }
    }
    (received, steps)
}

/// Bytes that tempt a parser to scan them again and again. Quadratic cost would take hours here;
/// the timeout is only there to fail earlier.
#[test]
fn stream_hostile_bytes_cost_linear_time() {
    const LEN: usize = 4 << 20;
    let many = |part: &[u8]| part.repeat(LEN / part.len());
    let then = |start: &[u8], rest: Vec<u8>| [start, &rest].concat();
    let long = (LEN as u32).to_be_bytes();
    // Segments that each contain the start of a JPEG, and a scan without an end.
    let nested = then(
        &many(b"\xff\xd8\xff\xe1\0\x06"),
        many(b"\xff\xda\0\x02...."),
    );
    // Frames that all end in the same run of zeros.
    let filled: Vec<u8> = (0..LEN as u32 / 16)
        .flat_map(|i| [&(LEN as u32 - 8 * i).to_be_bytes()[..], b"\xff\xd8\xff\xe0"].concat())
        .chain(vec![0; LEN])
        .collect();
    let hostile = [
        many(b"/9j/"),
        many(b"\xff\xd8\xff"),
        many(b"\xff\xd8\xff\0"),
        many(b"\n/9j/"),
        many(b"\0\0\x10\0/9j/"),
        many(&[&long[..], b"/9j/"].concat()),
        many(&[&long[..], b"\xff\xd8\xff\xe0"].concat()),
        many(b"100             /9j/"),
        many(b"0               "),
        many(b"\0"),
        many(b"\r\n"),
        many(b"="),
        // Both a length and a JPEG.
        then(b"\xff\xd8\xff\x02\xff\xd8\xff", many(b"\xff\xda\0\x02....")),
        nested,
        filled,
    ];
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        for (i, bytes) in hostile.iter().enumerate() {
            for accept in iter::once(AcceptedFramings::default())
                .chain(Framing::all().map(AcceptedFramings::from))
            {
                for pieces in [WHOLE, &[4096]] {
                    let (_, steps) = follow(FrameStream::new(accept, limits(LEN)), bytes, pieces);
                    done.send((i, accept, steps, bytes.len())).unwrap();
                }
                let (bytes, limits) = (&bytes[..LEN / 64], limits(LEN / 128));
                let (_, steps) = follow(FrameStream::new(accept, limits), bytes, &[1]);
                done.send((i, accept, steps, bytes.len())).unwrap();
            }
        }
    });
    let mut last = None;
    loop {
        match is_done.recv_timeout(Duration::from_secs(60)) {
            Ok((i, accept, steps, len)) => {
                assert!(
                    steps <= 3 * len + 100,
                    "{steps} steps, hostile bytes {i}, {accept:?}"
                );
                last = Some((i, accept));
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("stuck after {last:?}"),
        }
    }
}
