// SPDX-License-Identifier: MPL-2.0

//! Streams to try: JPEGs with the structure of real ones, and what goes wrong with them.

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

/// The framing given to the receiver, or none.
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

/// Some bytes of a scan: no marker but restarts and fill bytes.
fn entropy() -> impl Strategy<Value = Vec<u8>> {
    let coded = prop_oneof![
        8 => vec(0..=0xfe_u8, 1..40),
        2 => Just(vec![0xff, 0]),
        1 => (0xd0..=0xd7_u8).prop_map(|restart| vec![0xff, restart]),
        1 => Just(vec![0xff, 0xff, 0xd0]),
        1 => Just(b"\0\0\0\x20/9j/".to_vec()),
    ];
    vec(coded, 1..12).prop_map(|parts| parts.concat())
}

/// A JPEG without its EOI. `nested` makes thumbnails.
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
        // Without Huffman tables they would be given some.
        [frame, segment(0xc4, b"tables")].concat()
    });
    let scan = (vec(table.clone(), 0..2), entropy()).prop_map(|(tables, data)| {
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

/// What cameras make of JPEGs: bytes behind EOI, or no EOI.
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

/// JPEGs that a framing can carry unharmed: without a length, only EOI ends one.
pub fn jpegs_for(framing: Framing) -> BoxedStrategy<Vec<u8>> {
    match framing.header() {
        Header::None => jpegs(),
        _ => odd_jpegs().boxed(),
    }
}

// Streams

/// Bytes on the wire, and the JPEGs that stand whole in them.
#[derive(Clone, Default)]
pub struct Wire {
    pub bytes: Vec<u8>,
    pub whole: Vec<Vec<u8>>,
    /// Where each frame, and each piece of something else, ends.
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

    /// Bytes that nobody has to make sense of.
    pub fn damage(bytes: Vec<u8>) -> Self {
        Self {
            ends: vec![bytes.len()],
            whole: vec![],
            bytes,
        }
    }

    /// Whether something that is not a frame is, by chance, all that a frame is to a
    /// receiver: a length and a start, and behind that length an EOI, another frame, or
    /// the end of the stream.
    fn is_misleading(&self, framing: Framing) -> bool {
        let likely = |bytes: &[u8]| naive::likely_len(bytes, framing);
        let mut ends = self.ends.iter().peekable();
        (0..self.bytes.len()).any(|at| {
            while ends.next_if(|end| **end <= at).is_some() {}
            let Some(len) = likely(&self.bytes[at..]) else {
                return false;
            };
            let Some((before, behind)) = self.bytes.split_at_checked(at.saturating_add(len)) else {
                return false;
            };
            let inside = ends.peek().is_some_and(|end| at + len <= **end);
            let ended = match framing.payload() {
                Payload::Base64 => naive::decode(&before[at + framing.header().size()..]).is_ok(),
                Payload::Jpeg => naive::without_fill(before).ends_with(b"\xff\xd9"),
            };
            let zero = behind
                .get(..framing.header().size())
                .map(|b| naive::value(framing.header(), b));
            !inside
                && (ended || behind.is_empty() || zero == Some(Ok(0)) || likely(behind).is_some())
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

/// Several frames in a row.
pub fn frames(framing: Framing, count: impl Into<SizeRange>) -> impl Strategy<Value = Wire> {
    vec(jpegs_for(framing), count).prop_map(move |jpegs| Wire::of(framing, &jpegs))
}

/// Zero lengths, empty lines, or fill: nothing, said in the way of the header.
pub fn nothing(framing: Framing) -> impl Strategy<Value = Wire> {
    let once = match framing.header() {
        Header::Lines => b"\r\n".to_vec(),
        Header::None => vec![0],
        header => naive::length(header, 0),
    };
    (1..20_usize).prop_map(move |times| Wire::damage(once.repeat(times)))
}

/// Bytes that are no frame.
pub fn noise(framing: Framing) -> impl Strategy<Value = Wire> + Clone {
    let bytes = prop_oneof![
        3 => vec(any::<u8>(), 0..1000),
        1 => (any::<u8>(), 0..3000_usize).prop_map(|(byte, len)| vec![byte; len]),
        1 => "[A-Za-z0-9+/]{0,1000}".prop_map(String::into_bytes),
    ];
    bytes.prop_map(move |mut bytes| {
        match framing.header() {
            // Without a length all that looks like a start is one.
            Header::Lines => {
                bytes.retain(|byte| *byte != b'\n');
                bytes.push(b'\n');
            }
            // Nor must it make a marker of the end of a torn picture.
            Header::None => {
                bytes.retain(|byte| *byte != 0xff);
                bytes.insert(0, 0);
            }
            _ => {}
        }
        Wire::damage(bytes)
    })
}

/// Noise with what looks like the start of a frame.
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

/// A frame that the sender stopped in the middle of.
pub fn torn(framing: Framing) -> impl Strategy<Value = Wire> {
    let header = framing.header();
    (jpegs(), any::<Index>()).prop_map(move |(jpeg, keep)| {
        let mut bytes = naive::encode(framing, &jpeg);
        let payload = header.size()..bytes.len() - header.trailer_len();
        let from = match header {
            // Torn inside a segment it would take the next picture for the rest of it.
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

/// A frame with another byte in its payload.
pub fn spoilt(framing: Framing) -> impl Strategy<Value = Wire> {
    (jpegs(), any::<Index>(), any::<u8>()).prop_map(move |(jpeg, at, byte)| {
        let mut bytes = naive::encode(framing, &jpeg);
        let size = framing.header().size();
        let at = size + at.index(bytes.len() - size - framing.header().trailer_len());
        bytes[at] = byte;
        Wire::damage(bytes)
    })
}

/// A frame with another length in its header: shorter, longer, or over any limit.
pub fn misnamed(framing: Framing) -> impl Strategy<Value = Wire> {
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

/// Anything that can go wrong with one frame, or between two.
pub fn damage(framing: Framing) -> Union<BoxedStrategy<Wire>> {
    let mut ways = vec![garbage(framing).boxed(), torn(framing).boxed()];
    if framing.header() != Header::None {
        ways.push(spoilt(framing).boxed());
    }
    if framing.header().has_length() {
        ways.push(misnamed(framing).boxed());
    }
    Union::new(ways)
}

/// Frames with damage between them. The first two are whole: they settle the framing.
/// Where damage follows, a frame needs its EOI to be told from a torn one.
pub fn damaged(framing: Framing) -> impl Strategy<Value = Wire> {
    let some = (vec(jpegs_for(framing), 0..3), jpegs()).prop_map(move |(mut jpegs, last)| {
        jpegs.push(last);
        Wire::of(framing, &jpegs)
    });
    let part = prop_oneof![
        2 => some,
        2 => damage(framing),
        1 => nothing(framing),
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
        1 => nothing(framing),
        1 => garbage(framing),
    ];
    (vec(part, 0..6), any::<Index>()).prop_map(|(parts, end)| {
        let mut bytes = Wire::from_iter(parts).bytes;
        // Every third is cut.
        bytes.truncate(end.index(bytes.len() * 3 / 2 + 1));
        Wire::damage(bytes)
    })
}

// Receivers

/// How a stream is cut into pieces: these lengths, over and over.
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

/// Feeds `bytes` piece by piece to a [`Deframer`], which has to hold no more than it says.
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
    assert_eq!(deframer.held(), 0, "at the end nothing is left");
    assert_eq!(deframer.stream().offset(), bytes.len() as u64);
    check_places(&received, bytes.len() as u64);
    received
}

/// The longest header, and what all payloads of a kind begin with.
const HEADER: usize = 16;
const START: usize = 4;

/// A fault counts the frames before it and never points backwards or past the end.
#[track_caller]
fn check_places(received: &Received, end: u64) {
    let (mut frames, mut offset) = (0, 0);
    for item in received {
        match item {
            Ok(_) => frames += 1,
            Err(fault) => {
                assert_eq!(fault.frame, frames);
                assert!((offset..=end).contains(&fault.offset), "{fault}");
                offset = fault.offset;
            }
        }
    }
}

/// The JPEGs and the first fault, as [`naive::read`] gives them.
pub fn until_fault(received: Received) -> (Vec<Vec<u8>>, Option<FrameError>) {
    let mut jpegs = vec![];
    for item in received {
        match item {
            Ok(jpeg) => jpegs.push(jpeg),
            Err(fault) => return (jpegs, Some(fault)),
        }
    }
    (jpegs, None)
}

/// Asserts that all of `whole` came, bit for bit and in order, whatever came between.
#[track_caller]
pub fn assert_delivered(whole: &[Vec<u8>], received: &Received) {
    let mut jpegs = received.iter().flatten();
    for (i, jpeg) in whole.iter().enumerate() {
        let faults = received.iter().filter_map(|item| item.as_ref().err());
        assert!(
            jpegs.any(|received| received == jpeg),
            "whole frame {i} of {} was lost; faults: {:#?}",
            whole.len(),
            faults.collect::<Vec<_>>(),
        );
    }
}
