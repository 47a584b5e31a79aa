// SPDX-License-Identifier: MPL-2.0

//! Streams for property tests: JPEGs with the structure of real ones, and damage.

use std::{fmt, iter};

use b64jpeg_wire::{AcceptedFramings, Deframer, FrameError, FrameLimits, Framing, Header, Payload};
use proptest::{
    collection::{SizeRange, vec},
    option,
    prelude::*,
    sample::{Index, select},
    strategy::Union,
};

use crate::naive;

pub fn framings() -> impl Strategy<Value = Framing> {
    select(Framing::all().collect::<Vec<_>>())
}

/// What the receiver may accept: any framing, or parts or all of this one.
pub fn accepts(framing: Framing) -> impl Strategy<Value = AcceptedFramings> {
    select(vec![
        AcceptedFramings::default(),
        framing.into(),
        AcceptedFramings {
            header: Some(framing.header()),
            payload: None,
        },
        AcceptedFramings {
            header: None,
            payload: Some(framing.payload()),
        },
    ])
}

// JPEGs

fn segment(marker: u8, contents: &[u8]) -> Vec<u8> {
    let len = contents.len() as u16 + 2;
    [&[0xff, marker], &len.to_be_bytes()[..], contents].concat()
}

/// Coded data of a scan: no markers but restarts and fill bytes.
fn coded_data() -> impl Strategy<Value = Vec<u8>> {
    let coded = prop_oneof![
        8 => vec(0..=0xfe_u8, 1..40),
        2 => Just(vec![0xff, 0]),
        1 => (0xd0..=0xd7_u8).prop_map(|restart| vec![0xff, restart]),
        1 => Just(vec![0xff, 0xff, 0xd0]),
        1 => Just(b"\0\0\0\x20/9j/".to_vec()),
    ];
    vec(coded, 1..12).prop_map(|parts| parts.concat())
}

/// JPEGs without their EOI. `nested` generates thumbnails.
fn body(nested: BoxedStrategy<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    // Exif ends with the length of the thumbnail and a zero, in either byte order.
    let exif = (nested, any::<bool>()).prop_map(|(thumbnail, le)| {
        let len = thumbnail.len() as u32;
        let len = if le {
            len.to_le_bytes()
        } else {
            len.to_be_bytes()
        };
        [b"Exif\0\0", &len[..], &[0; 4], &thumbnail].concat()
    });
    let contents = prop_oneof![
        vec(any::<u8>(), 0..60),
        exif,
        Just(b"\xff\xd8\xff\xd9\xff\xda".to_vec()),
    ];
    let marker = prop_oneof![0xe0..=0xef_u8, Just(0xfe), Just(0xdb), Just(0xc4)];
    let table = (0..3_usize, marker, contents).prop_map(|(fill, marker, contents)| {
        [vec![0xff; fill], segment(marker, &contents)].concat()
    });
    let frame = (1..5000_u16, 1..5000_u16).prop_map(|(width, height)| {
        let [h, w] = [height.to_be_bytes(), width.to_be_bytes()];
        let frame = segment(0xc0, &[8, h[0], h[1], w[0], w[1], 1, 1, 0x11, 0]);
        // Otherwise the encoder would add Huffman tables.
        [frame, segment(0xc4, b"tables")].concat()
    });
    let scan = (vec(table.clone(), 0..2), coded_data()).prop_map(|(tables, data)| {
        [tables.concat(), segment(0xda, &[1, 1, 0, 0, 63, 0]), data].concat()
    });
    (vec(table, 0..4), frame, vec(scan, 1..3)).prop_map(|(tables, frame, scans)| {
        [b"\xff\xd8".to_vec(), tables.concat(), frame, scans.concat()].concat()
    })
}

/// Whole JPEGs that end with EOI.
pub fn jpegs() -> BoxedStrategy<Vec<u8>> {
    let eoi = |body: Vec<u8>| [&body[..], b"\xff\xd9"].concat();
    let thumbnail = body(Just(b"\xff\xd8\xff\xd9".to_vec()).boxed()).prop_map(eoi);
    body(thumbnail.boxed()).prop_map(eoi).boxed()
}

/// JPEGs of odd cameras: with bytes after EOI, or without EOI.
pub fn odd_jpegs() -> impl Strategy<Value = Vec<u8>> {
    let fill = prop_oneof![
        (0..40_usize).prop_map(|len| vec![0; len]),
        Just(b"\r\n".to_vec()),
    ];
    prop_oneof![
        2 => jpegs(),
        1 => (jpegs(), fill).prop_map(|(jpeg, fill)| [jpeg, fill].concat()),
        1 => jpegs().prop_map(|jpeg| jpeg[..jpeg.len() - 2].to_vec()),
    ]
}

/// JPEGs that arrive unchanged in a framing. Without a length, each has to end with EOI.
pub fn jpegs_for(framing: Framing) -> BoxedStrategy<Vec<u8>> {
    match framing.header() {
        Header::None => jpegs(),
        _ => odd_jpegs().boxed(),
    }
}

// Streams

/// Bytes of a stream, and the JPEGs of its whole frames.
#[derive(Clone, Default)]
pub struct Wire {
    pub bytes: Vec<u8>,
    pub whole: Vec<Vec<u8>>,
    /// The offset at which each frame, or other part, ends.
    ends: Vec<usize>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "b\"{}\", ends {:?}",
            self.bytes.escape_ascii(),
            self.ends
        )?;
        let mut lens = self.whole.iter().map(Vec::len);
        lens.try_for_each(|len| write!(f, ", a JPEG of {len}"))
    }
}

impl Wire {
    pub fn of(framing: Framing, jpegs: &[Vec<u8>]) -> Self {
        let frames = jpegs.iter().map(|jpeg| Self {
            whole: vec![jpeg.clone()],
            ..Self::damage(naive::encode(framing, jpeg))
        });
        frames.collect()
    }

    /// Bytes without a whole frame.
    pub fn damage(bytes: Vec<u8>) -> Self {
        Self {
            ends: vec![bytes.len()],
            whole: vec![],
            bytes,
        }
    }

    /// Whether something that is not a frame looks, by chance, like one that is confirmed: it
    /// has a length and the start of a payload, and at its end an EOI, another frame, or the end
    /// of the stream.
    fn is_misleading(&self, framing: Framing) -> bool {
        let likely = |bytes: &[u8]| naive::likely_len(bytes, framing);
        let mut ends = self.ends.iter().peekable();
        (0..self.bytes.len()).any(|at| {
            while ends.next_if(|end| **end <= at).is_some() {}
            let Some(len) = likely(&self.bytes[at..]) else {
                return false;
            };
            let Some((before, after)) = self.bytes.split_at_checked(at.saturating_add(len)) else {
                return false;
            };
            let inside = ends.peek().is_some_and(|end| at + len <= **end);
            let ended = match framing.payload() {
                Payload::Base64 => naive::decode(&before[at + framing.header().size()..]).is_ok(),
                Payload::Jpeg => naive::without_fill(before).ends_with(b"\xff\xd9"),
            };
            let zero = after
                .get(..framing.header().size())
                .map(|b| naive::value(framing.header(), b));
            !inside && (ended || after.is_empty() || zero == Some(Ok(0)) || likely(after).is_some())
        })
    }
}

impl FromIterator<Wire> for Wire {
    fn from_iter<T: IntoIterator<Item = Self>>(wires: T) -> Self {
        wires.into_iter().fold(Self::default(), |mut all, wire| {
            let offset = all.bytes.len();
            all.ends.extend(wire.ends.iter().map(|end| offset + end));
            all.bytes.extend(wire.bytes);
            all.whole.extend(wire.whole);
            all
        })
    }
}

/// Streams of whole frames.
pub fn frames(framing: Framing, count: impl Into<SizeRange>) -> impl Strategy<Value = Wire> {
    vec(jpegs_for(framing), count).prop_map(move |jpegs| Wire::of(framing, &jpegs))
}

/// Filler: zero lengths, empty lines, or fill bytes, depending on the header.
pub fn filler(framing: Framing) -> impl Strategy<Value = Wire> {
    let once = match framing.header() {
        Header::Lines => b"\r\n".to_vec(),
        Header::None => vec![0],
        header => naive::length(header, 0),
    };
    (1..20_usize).prop_map(move |times| Wire::damage(once.repeat(times)))
}

/// Bytes that do not look like a frame.
pub fn noise(framing: Framing) -> impl Strategy<Value = Wire> + Clone {
    let bytes = prop_oneof![
        3 => vec(any::<u8>(), 0..1000),
        1 => (any::<u8>(), 0..3000_usize).prop_map(|(byte, len)| vec![byte; len]),
        1 => "[A-Za-z0-9+/]{0,1000}".prop_map(String::into_bytes),
    ];
    bytes.prop_map(move |mut bytes| {
        match framing.header() {
            // Without a length, whatever looks like a start is one.
            Header::Lines => {
                bytes.retain(|byte| *byte != b'\n');
                bytes.push(b'\n');
            }
            // Nor may the end of a torn JPEG and the noise make a marker.
            Header::None => {
                bytes.retain(|byte| *byte != 0xff);
                bytes.insert(0, 0);
            }
            _ => {}
        }
        Wire::damage(bytes)
    })
}

/// Noise, perhaps with the start of a frame in it.
pub fn garbage(framing: Framing) -> impl Strategy<Value = Wire> {
    let header = framing.header();
    let start = (1..6000_usize).prop_map(move |len| {
        let length = naive::length(header, len as u64);
        let bytes = [&length, framing.payload().start()].concat();
        Wire::damage(bytes)
    });
    (noise(framing), option::of(start), noise(framing)).prop_map(move |(before, start, after)| {
        let start = start.filter(|_| header.has_length());
        [before, start.unwrap_or_default(), after]
            .into_iter()
            .collect()
    })
}

/// A frame that ends too early.
pub fn torn(framing: Framing) -> impl Strategy<Value = Wire> {
    let header = framing.header();
    (jpegs(), any::<Index>()).prop_map(move |(jpeg, keep)| {
        let mut bytes = naive::encode(framing, &jpeg);
        let payload = header.size()..bytes.len() - header.trailer_len();
        let from = match header {
            // Torn inside a segment, the next JPEG would be read as the rest of it.
            Header::None => {
                jpeg.windows(2)
                    .rposition(|pair| pair == b"\xff\xda")
                    .unwrap()
                    + 10
            }
            _ => payload.start,
        };
        bytes.drain(from + keep.index(payload.end - from)..payload.end);
        Wire::damage(bytes)
    })
}

/// A frame with a wrong byte in its payload.
pub fn spoilt(framing: Framing) -> impl Strategy<Value = Wire> {
    (jpegs(), any::<Index>(), any::<u8>()).prop_map(move |(jpeg, at, byte)| {
        let mut bytes = naive::encode(framing, &jpeg);
        let size = framing.header().size();
        let at = size + at.index(bytes.len() - size - framing.header().trailer_len());
        bytes[at] = byte;
        Wire::damage(bytes)
    })
}

/// A frame with a wrong length in its header: shorter, longer, or over any limit.
pub fn wrong_length(framing: Framing) -> impl Strategy<Value = Wire> {
    let header = framing.header();
    let len = prop_oneof![
        3 => 1..6000_u64,
        1 => any::<u32>().prop_map(u64::from),
        1 => 0..=header.max_payload(),
    ];
    (jpegs(), len).prop_map(move |(jpeg, len)| {
        let payload = naive::payload(framing.payload(), &jpeg);
        let bytes = [naive::length(header, len), payload].concat();
        Wire::damage(bytes)
    })
}

/// Any damage to one frame, or between two.
pub fn damage(framing: Framing) -> Union<BoxedStrategy<Wire>> {
    let mut ways = vec![garbage(framing).boxed(), torn(framing).boxed()];
    if framing.header() != Header::None {
        ways.push(spoilt(framing).boxed());
    }
    if framing.header().has_length() {
        ways.push(wrong_length(framing).boxed());
    }
    Union::new(ways)
}

/// Frames with damage between them. The first two are whole, so that the framing is detected.
/// In front of damage, a frame needs its EOI to differ from a torn one.
pub fn damaged(framing: Framing) -> impl Strategy<Value = Wire> {
    let some = (vec(jpegs_for(framing), 0..3), jpegs()).prop_map(move |(mut jpegs, last)| {
        jpegs.push(last);
        Wire::of(framing, &jpegs)
    });
    let part = prop_oneof![
        2 => some,
        2 => damage(framing),
        1 => filler(framing),
    ];
    let first = vec(jpegs(), 2).prop_map(move |jpegs| Wire::of(framing, &jpegs));
    (first, vec(part, 1..8))
        .prop_map(|(first, rest)| iter::once(first).chain(rest).collect())
        .prop_filter("a wrong length that seems right", move |wire: &Wire| {
            !wire.is_misleading(framing)
        })
}

/// Anything: frames, damage, noise, and an end anywhere.
pub fn anything(framing: Framing) -> impl Strategy<Value = Wire> {
    let part = prop_oneof![
        4 => frames(framing, 1..3),
        2 => damage(framing),
        1 => filler(framing),
        1 => garbage(framing),
    ];
    (vec(part, 0..6), any::<Index>()).prop_map(|(parts, end)| {
        let mut bytes = Wire::from_iter(parts).bytes;
        // Every third stream is truncated.
        bytes.truncate(end.index(bytes.len() * 3 / 2 + 1));
        Wire::damage(bytes)
    })
}

// Receivers

/// How a stream is cut into pieces: a list of lengths, to be repeated.
pub fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        1 => Just(vec![1]),
        1 => Just(vec![4096]),
        2 => vec(1..30_usize, 1..10),
        2 => vec(1..2000_usize, 1..10),
    ]
}

pub const WHOLE: &[usize] = &[usize::MAX];

pub type Received = Vec<Result<Vec<u8>, FrameError>>;

/// Feeds `bytes` piece by piece to a [`Deframer`], and checks how much it holds.
#[track_caller]
pub fn receive(
    accept: AcceptedFramings,
    limits: FrameLimits,
    bytes: &[u8],
    pieces: &[usize],
) -> Received {
    let mut deframer = Deframer::new(accept, limits);
    let mut received = vec![];
    let mut rest = bytes;
    for len in pieces.iter().cycle() {
        let (piece, later) = rest.split_at(rest.len().min(*len));
        rest = later;
        deframer.push(piece);
        if rest.is_empty() {
            deframer.finish();
        }
        received.extend(iter::from_fn(|| deframer.next()));
        let bound = HEADER + limits.max_frame + HEADER + START + piece.len();
        assert!(deframer.held() < bound, "{} bytes held", deframer.held());
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(deframer.held(), 0, "nothing is held at the end");
    assert_eq!(deframer.stream().offset(), bytes.len() as u64);
    check_offsets(&received, bytes.len() as u64);
    received
}

/// Lengths of the longest header and of the longest start of a payload.
const HEADER: usize = 16;
const START: usize = 4;

/// Checks that each error has the number of frames before it, and offsets that do not decrease
/// and are not after the end.
#[track_caller]
fn check_offsets(received: &Received, end: u64) {
    let (mut frames, mut offset) = (0, 0);
    for item in received {
        match item {
            Ok(_) => frames += 1,
            Err(error) => {
                assert_eq!(error.frame, frames);
                assert!((offset..=end).contains(&error.offset), "{error}");
                offset = error.offset;
            }
        }
    }
}

/// The JPEGs up to the first error, and the error, as [`naive::read`] returns them.
pub fn until_error(received: Received) -> (Vec<Vec<u8>>, Option<FrameError>) {
    let mut jpegs = vec![];
    for item in received {
        match item {
            Ok(jpeg) => jpegs.push(jpeg),
            Err(error) => return (jpegs, Some(error)),
        }
    }
    (jpegs, None)
}

/// Asserts that all of `whole` were received, unchanged and in order, among others.
#[track_caller]
pub fn assert_delivered(whole: &[Vec<u8>], received: &Received) {
    let mut jpegs = received.iter().flatten();
    for (i, jpeg) in whole.iter().enumerate() {
        let errors = received.iter().filter_map(|item| item.as_ref().err());
        assert!(
            jpegs.any(|received| received == jpeg),
            "whole frame {i} of {} was lost; errors: {:#?}",
            whole.len(),
            errors.collect::<Vec<_>>(),
        );
    }
}
