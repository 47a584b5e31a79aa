// SPDX-License-Identifier: MPL-2.0

//! A minimal HTTP client: requests a WebSocket, and reads what the server responds instead.

use std::{io, time::Duration};

use base64_turbo::STANDARD;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::{
    target::Target,
    text::{printable, summary},
};

/// Longest head of a response, in bytes.
pub const MAX_HEAD: usize = 16 << 10;
/// Most headers of a response. Servers send some ten.
pub const MAX_HEADERS: usize = 256;
/// Bytes of a body that are read at most.
const MAX_BODY: usize = 4 << 10;
/// How long to wait for them.
const BODY_TIMEOUT: Duration = Duration::from_secs(2);

/// The first bytes of every response that is accepted.
const START: &[u8] = b"HTTP/1.";

/// Why there is no response.
#[derive(Debug)]
pub enum HttpError {
    /// The stream failed.
    Io(io::Error),
    /// The server closed the connection before it sent anything.
    Closed,
    /// The response is not HTTP. Its first bytes.
    NotHttp(Vec<u8>),
    /// The head of the response does not end within [`MAX_HEAD`] bytes.
    HeadTooLong,
    /// The server closed the connection after that many bytes of a head.
    HeadCut { len: usize },
    /// The response has more than [`MAX_HEADERS`] headers.
    TooManyHeaders,
    /// The status line has no status. The line, printable.
    NoStatus(String),
    /// The headers are malformed.
    BadHeaders,
}

impl From<io::Error> for HttpError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The head of a response, and the bytes that came with it.
#[derive(Debug)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    reason: String,
    headers: Vec<(String, String)>,
    /// The bytes behind the head that have been read already.
    pub rest: Vec<u8>,
}

impl HttpResponse {
    /// Sends `request`, and reads the head of the response.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn receive<S>(stream: &mut S, request: &str) -> Result<Self, HttpError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut bytes = Vec::with_capacity(1024);
        loop {
            if let Some(response) = Self::parse(&mut bytes)? {
                return Ok(response);
            }
            let room = (MAX_HEAD - bytes.len()) as u64;
            if stream.take(room).read_buf(&mut bytes).await? == 0 {
                return Err(match bytes.len() {
                    0 => HttpError::Closed,
                    len if len >= START.len() => HttpError::HeadCut { len },
                    _ => HttpError::NotHttp(bytes),
                });
            }
        }
    }

    /// Parses the head, and leaves nothing in `bytes`, once the head is whole.
    fn parse(bytes: &mut Vec<u8>) -> Result<Option<Self>, HttpError> {
        // What is not HTTP may never have the end of a head.
        let some = bytes.len().min(START.len());
        if bytes[..some] != START[..some] {
            return Err(HttpError::NotHttp(bytes.clone()));
        }
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
            return match bytes.len() {
                len if len >= MAX_HEAD => Err(HttpError::HeadTooLong),
                _ => Ok(None),
            };
        };
        let rest = bytes.split_off(end + 4);
        let head = std::mem::take(bytes);
        let mut headers = vec![httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        // As lenient as browsers: of the headers only a few matter here.
        let parsed = httparse::ParserConfig::default()
            .allow_multiple_spaces_in_response_status_delimiters(true)
            .allow_spaces_after_header_name_in_responses(true)
            .ignore_invalid_headers_in_responses(true)
            .parse_response(&mut response, &head);
        match (parsed, response.code) {
            (Ok(_), Some(status)) => Ok(Some(Self {
                status,
                reason: response.reason.unwrap_or_default().into(),
                headers: response
                    .headers
                    .iter()
                    .map(|header| {
                        let value = String::from_utf8_lossy(header.value);
                        (header.name.into(), value.into_owned())
                    })
                    .collect(),
                rest,
            })),
            (Err(httparse::Error::TooManyHeaders), _) => Err(HttpError::TooManyHeaders),
            (Err(error), Some(_)) if error != httparse::Error::Status => Err(HttpError::BadHeaders),
            (_, _) => {
                let head = String::from_utf8_lossy(&head);
                let line = head.lines().next().unwrap_or_default();
                Err(HttpError::NoStatus(printable(line)))
            }
        }
    }

    /// The value of a header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// Status code and reason, such as `404 Not Found`, printable.
    pub fn status_line(&self) -> String {
        printable(&format!("{} {}", self.status, self.reason))
    }

    /// The beginning of the body, up to a limit of size and time.
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
        // After a timeout or an error, what came so far still helps to explain the failure.
        let _ = timeout(BODY_TIMEOUT, read).await;
        let body = String::from_utf8_lossy(&self.rest);
        if !chunked {
            return body.into_owned();
        }
        // Every other line is the length of a chunk, unless the body has line breaks itself;
        // for a short text to show that is good enough.
        let lines = body.split("\r\n").skip(1).step_by(2);
        lines.collect()
    }
}

/// Joins the status line and the [`summary`] of the body, without saying anything twice.
pub fn status_and_summary(status_line: String, body: &str) -> String {
    let summary = summary(body);
    if summary.to_lowercase().contains(&status_line.to_lowercase()) {
        summary
    } else if summary.is_empty() || status_line.contains(&summary) {
        status_line
    } else {
        format!("{status_line}: {summary}")
    }
}

/// The text of a request for a Socket.IO transport.
pub fn transport_request(target: &Target, transport: &str, headers: &str) -> String {
    let url = &target.url;
    let authorization = url
        .user()
        .map(|user| format!("Authorization: Basic {}\r\n", STANDARD.encode(user)));
    format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}/{}\r\n{}{headers}\r\n",
        url.request_target(transport),
        url.authority(),
        env!("CARGO_PKG_NAME"),
        env!("CARGO_PKG_VERSION"),
        authorization.unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status and the body of a response that arrives in pieces, and then ends.
    async fn receive(pieces: &[&[u8]]) -> Result<(u16, String), HttpError> {
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        for piece in pieces {
            far.write_all(piece).await.expect("room");
        }
        far.shutdown().await.expect("it closes");
        let response = HttpResponse::receive(&mut near, "GET / HTTP/1.1\r\n\r\n").await?;
        Ok((response.status, response.body(&mut near).await))
    }

    fn run<T>(task: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(task)
    }

    #[test]
    fn response_in_pieces_gives_status_and_body() {
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
                let (code, text) = receive(pieces).await.expect("a response");
                assert_eq!((code, &*text), (status, body));
            }
        });
    }

    #[test]
    fn response_without_http_is_an_error() {
        run(async {
            for bytes in [&b"SSH-2.0"[..], b"\x15\x03\x01\0\x02\x02\x46", b"HTTP"] {
                let error = receive(&[bytes]).await.expect_err("not HTTP");
                assert!(matches!(error, HttpError::NotHttp(_)), "{error:?}");
            }
            let error = receive(&[]).await.expect_err("nothing came");
            assert!(matches!(error, HttpError::Closed));
            let flood = vec![b'x'; 1 << 19];
            let (_, body) = receive(&[b"HTTP/1.1 200 OK\r\n\r\n", &flood])
                .await
                .expect("a response");
            assert!(body.len() <= MAX_HEAD);
        });
    }

    #[test]
    fn head_without_end_or_status_is_named() {
        run(async {
            let head = |tail: usize| [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![0; tail]].concat();
            for tail in [MAX_HEAD, 2 * MAX_HEAD] {
                let error = receive(&[&head(tail)]).await.expect_err("too long");
                assert!(matches!(error, HttpError::HeadTooLong), "{error:?}");
            }
            let cut = head(100);
            let error = receive(&[&cut]).await.expect_err("it is cut off");
            assert!(matches!(error, HttpError::HeadCut { len } if len == cut.len()));

            for line in ["HTTP/1.1 ok", "HTTP/1.", "HTTP/1.1 \u{1f600}"] {
                let head = format!("{line}\r\n\r\n");
                let error = receive(&[head.as_bytes()]).await.expect_err("no status");
                assert!(
                    matches!(&error, HttpError::NoStatus(text) if text == line),
                    "{error:?}"
                );
            }
        });
    }

    #[test]
    fn head_with_too_many_or_bad_headers_is_named() {
        run(async {
            let head = |n: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(n));
            let (status, _) = receive(&[head(MAX_HEADERS).as_bytes()])
                .await
                .expect("a response");
            assert_eq!(status, 200);
            let error = receive(&[head(MAX_HEADERS + 1).as_bytes()]).await;
            assert!(matches!(error, Err(HttpError::TooManyHeaders)), "{error:?}");
            let error = receive(&[b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n"]).await;
            assert!(matches!(error, Err(HttpError::BadHeaders)), "{error:?}");
        });
    }

    #[test]
    fn header_lookup_ignores_case_and_bad_lines() {
        let mut head = b"HTTP/1.1  302   Found\r\nno header\r\nlocation : /a \r\n\r\nrest".to_vec();
        let response = HttpResponse::parse(&mut head)
            .expect("HTTP")
            .expect("whole");
        assert_eq!(response.header("Location"), Some("/a"));
        assert_eq!(response.header("a"), None);
        assert_eq!(response.status_line(), "302 Found");
        assert_eq!(response.rest, b"rest");
    }

    #[test]
    fn body_longer_than_its_limit_is_cut_off() {
        run(async {
            let flood = vec![b'x'; 1 << 18];
            for length in [
                "Content-Length: 1000000000000000000000000000000",
                "Content-Length: -1",
                "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff",
            ] {
                let head = format!("HTTP/1.1 200 OK\r\n{length}\r\n\r\n");
                let (_, body) = receive(&[head.as_bytes(), &flood])
                    .await
                    .expect("a response");
                assert!(body.len() <= MAX_HEAD, "{length}: {}", body.len());
            }
        });
    }

    #[test]
    fn status_and_summary_repeated_text_is_said_once() {
        for (body, said) in [
            ("", "404 Not Found"),
            ("Not Found", "404 Not Found"),
            ("<title>404 not found</title>", "404 not found"),
            ("no such page", "404 Not Found: no such page"),
        ] {
            assert_eq!(status_and_summary("404 Not Found".into(), body), said);
        }
    }
}
