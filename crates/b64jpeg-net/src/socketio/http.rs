// SPDX-License-Identifier: MPL-2.0

//! As much of an HTTP client as it takes to ask a relay for a websocket, and to say what it
//! answers if that is none.

use std::{io, time::Duration};

use base64_turbo::STANDARD;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::connection::Target;

/// The longest head of an answer.
pub const MAX_HEAD: usize = 16 << 10;
/// As much of a body as is looked at, and as long as is waited for it.
const MAX_BODY: usize = 4 << 10;
const BODY_PATIENCE: Duration = Duration::from_secs(2);
/// As much of it as is told.
const MAX_TOLD: usize = 160;

/// What an answer begins with.
const START: &[u8] = b"HTTP/1.";

/// Why there is no answer.
#[derive(Debug)]
pub enum Error {
    Io(io::Error),
    /// The other side closed the connection, after some bytes of an answer or none.
    Closed,
    /// The answer is none of HTTP; its first bytes.
    Foreign(Vec<u8>),
    /// The head of the answer does not end within [`MAX_HEAD`] bytes.
    HeadTooLong,
    /// The other side closed the connection after that many bytes of a head.
    HeadCut {
        len: usize,
    },
    /// The status line has no status; what it has.
    NoStatus(String),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The head of an answer, and what came with it.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    /// What stands behind the head.
    pub rest: Vec<u8>,
}

impl Answer {
    /// Asks, and reads no more than the head of the answer.
    pub async fn to<S>(stream: &mut S, request: &str) -> Result<Self, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut bytes = Vec::with_capacity(1024);
        loop {
            if let Some(answer) = Self::parse(&mut bytes)? {
                return Ok(answer);
            }
            let room = (MAX_HEAD - bytes.len()) as u64;
            if stream.take(room).read_buf(&mut bytes).await? == 0 {
                return Err(match bytes.len() {
                    0 => Error::Closed,
                    len if len >= START.len() => Error::HeadCut { len },
                    _ => Error::Foreign(bytes),
                });
            }
        }
    }

    /// Takes what is there, as soon as it has the whole head.
    fn parse(bytes: &mut Vec<u8>) -> Result<Option<Self>, Error> {
        let some = bytes.len().min(START.len());
        if bytes[..some] != START[..some] {
            return Err(Error::Foreign(bytes.clone()));
        }
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
            return match bytes.len() {
                len if len >= MAX_HEAD => Err(Error::HeadTooLong),
                _ => Ok(None),
            };
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let Some(status) = head.get(9..12).and_then(|status| status.parse().ok()) else {
            let line = head.lines().next().unwrap_or_default();
            return Err(Error::NoStatus(printable(line)));
        };
        let rest = bytes.split_off(end + 4);
        Ok(Some(Self { status, head, rest }))
    }

    /// A header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The status line, as much of it as stands behind the version.
    pub fn reason(&self) -> String {
        let line = self.head.lines().next().unwrap_or_default();
        printable(line.get(9..).unwrap_or_default())
    }

    /// The body, or its beginning.
    pub async fn body(mut self, stream: &mut (impl AsyncRead + Unpin)) -> String {
        let len = self
            .header("content-length")
            .and_then(|len| len.parse().ok());
        let chunked = self.header("transfer-encoding").is_some();
        let len = len.unwrap_or(MAX_BODY).min(MAX_BODY);
        let read = async {
            while self.rest.len() < len && !(chunked && self.rest.ends_with(b"\r\n0\r\n\r\n")) {
                let room = (len - self.rest.len()) as u64;
                match stream.take(room).read_buf(&mut self.rest).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
        };
        // What came is better than nothing.
        let _ = timeout(BODY_PATIENCE, read).await;
        let body = String::from_utf8_lossy(&self.rest);
        if !chunked {
            return body.into_owned();
        }
        // Every other line is a length, if the lines are short enough to matter.
        let lines = body.split("\r\n").skip(1).step_by(2);
        lines.collect()
    }
}

/// A request for a transport.
pub fn request(target: &Target, transport: &str, headers: &str) -> String {
    let url = &target.url;
    let authorization = url
        .user()
        .map(|user| format!("Authorization: Basic {}\r\n", STANDARD.encode(user)));
    format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}/{}\r\n{}{headers}\r\n",
        url.target(transport),
        url.authority(),
        env!("CARGO_PKG_NAME"),
        env!("CARGO_PKG_VERSION"),
        authorization.unwrap_or_default(),
    )
}

/// What a body says in so many words: a line of text, or the title of a page.
pub fn gist(body: &str) -> String {
    let lower = body.to_ascii_lowercase();
    let text = match lower.find('<') {
        Some(0) => {
            let title = lower.find("<title>").map(|at| at + "<title>".len());
            let end = title.and_then(|at| Some(at + lower[at..].find('<')?));
            title.zip(end).map_or("", |(at, end)| &body[at..end])
        }
        _ => body,
    };
    printable(text)
}

/// On one line, without what terminals obey, and not too long.
pub fn printable(text: &str) -> String {
    // Whoever sends it decides how long it is: no more is copied than is shown.
    let words = text.split_whitespace().enumerate();
    let spaced = words.flat_map(|(n, word)| {
        let space = (n > 0).then_some(' ');
        space.into_iter().chain(word.chars())
    });
    let mut chars = spaced.filter(|c| !c.is_control());
    let mut shown: String = chars.by_ref().take(MAX_TOLD).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of an answer that arrives in pieces, and then ends.
    async fn answer(pieces: &[&[u8]]) -> Result<(u16, String), Error> {
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        for piece in pieces {
            far.write_all(piece).await.expect("room");
        }
        far.shutdown().await.expect("it closes");
        let answer = Answer::to(&mut near, "GET / HTTP/1.1\r\n\r\n").await?;
        Ok((answer.status, answer.body(&mut near).await))
    }

    fn run<T>(task: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("enough of everything").block_on(task)
    }

    #[test]
    fn answers() {
        run(async {
            for (pieces, status, body) in [
                (
                    &[&b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\nno"[..]][..],
                    404,
                    "no",
                ),
                (
                    &[b"HTTP/1.0 200 OK\r\n", b"Content-Length: 2\r\n\r\n", b"yes"],
                    200,
                    "yes",
                ),
                (
                    &[b"HTTP/1.1 400 \r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"],
                    400,
                    "no",
                ),
            ] {
                let (code, text) = answer(pieces).await.expect("an answer");
                assert_eq!((code, &*text), (status, body));
            }
        });
    }

    #[test]
    fn what_is_no_answer() {
        run(async {
            for bytes in [&b"SSH-2.0"[..], b"\x15\x03\x01\0\x02\x02\x46", b"HTTP"] {
                let error = answer(&[bytes]).await.expect_err("it is none");
                assert!(matches!(error, Error::Foreign(_)), "{error:?}");
            }
            let error = answer(&[]).await.expect_err("it is none");
            assert!(matches!(error, Error::Closed));
            let flood = vec![b'x'; 1 << 19];
            let (_, body) = answer(&[b"HTTP/1.1 200 OK\r\n\r\n", &flood])
                .await
                .expect("an answer");
            assert!(body.len() <= MAX_HEAD);
        });
    }

    #[test]
    fn head_without_end_or_status_is_named() {
        run(async {
            let head = |tail: usize| [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![0; tail]].concat();
            for tail in [MAX_HEAD, 2 * MAX_HEAD] {
                let error = answer(&[&head(tail)]).await.expect_err("too long");
                assert!(matches!(error, Error::HeadTooLong), "{error:?}");
            }
            let cut = head(100);
            let error = answer(&[&cut]).await.expect_err("it is cut off");
            assert!(matches!(error, Error::HeadCut { len } if len == cut.len()));

            for line in ["HTTP/1.1 ok", "HTTP/1.", "HTTP/1.1 \u{1f600}"] {
                let head = format!("{line}\r\n\r\n");
                let error = answer(&[head.as_bytes()]).await.expect_err("no status");
                assert!(
                    matches!(&error, Error::NoStatus(text) if text == line),
                    "{error:?}"
                );
            }
        });
    }

    #[test]
    fn length_of_a_body_is_never_trusted() {
        run(async {
            let flood = vec![b'x'; 1 << 18];
            for length in [
                "Content-Length: 1000000000000000000000000000000",
                "Content-Length: -1",
                "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff",
            ] {
                let head = format!("HTTP/1.1 200 OK\r\n{length}\r\n\r\n");
                let answer = answer(&[head.as_bytes(), &flood]).await.expect("an answer");
                assert!(answer.1.len() <= MAX_HEAD, "{length}: {}", answer.1.len());
            }
        });
    }

    #[test]
    fn printable_text_is_short_whatever_comes() {
        let words = "a \0".repeat(1 << 20);
        assert_eq!(printable(&words).chars().count(), MAX_TOLD + 1);
        assert_eq!(printable(&"x".repeat(MAX_TOLD)).len(), MAX_TOLD);
        assert_eq!(printable(" \n "), "");
    }

    #[test]
    fn bodies_in_a_few_words() {
        assert_eq!(gist("{\"code\": 5}\n"), "{\"code\": 5}");
        assert_eq!(
            gist("<!doctype html><html><title>404 Not\nFound</title>"),
            "404 Not Found"
        );
        assert_eq!(gist("<p>nothing</p>"), "");
        assert_eq!(gist("a\u{1b}[31m\r\nb"), "a[31m b");
        assert_eq!(gist(&"ü".repeat(1000)).chars().count(), MAX_TOLD + 1);
    }
}
