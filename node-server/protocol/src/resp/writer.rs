//! Replies as bytes. Commands describe what they answer once; the protocol version decides how it looks.

/// The version a connection chose with HELLO; 2 until then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// RESP2.
    #[default]
    Resp2,
    /// RESP3.
    Resp3,
}

/// What C takes for the text when it is given these bytes: all before the first zero. Redis's error texts have their
/// arguments so.
#[must_use]
pub fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or(bytes)
}

/// The longest decimal text of a 64-bit integer.
pub const NUMBER_TEXT_MAX: usize = 20;

/// Appends the decimal text of `n`.
pub fn put_number(out: &mut Vec<u8>, n: i64) {
    out.extend_from_slice(format_number(n, &mut [0; NUMBER_TEXT_MAX]));
}

/// Writes the decimal text of `n` to the end of `buffer` and returns it.
pub fn format_number(n: i64, buffer: &mut [u8; NUMBER_TEXT_MAX]) -> &[u8] {
    let mut at = buffer.len();
    let mut rest = n.unsigned_abs();
    loop {
        at -= 1;
        buffer[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if n < 0 {
        at -= 1;
        buffer[at] = b'-';
    }
    &buffer[at..]
}

/// Appends replies to a connection's output buffer.
pub struct ReplyWriter<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
}

impl<'a> ReplyWriter<'a> {
    /// Writes to the end of `out`.
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Self { out, protocol }
    }

    /// The buffer behind it, for replies that are written elsewhere.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// The version in use.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Bytes already formatted as RESP.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// `+text`; the text has no line break.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text);
    }

    /// `-text`: the text begins with its code, as in `ERR syntax error`. Line breaks become spaces; none
    /// stays at the end.
    pub fn error(&mut self, text: &str) {
        let text = text.trim_end_matches(['\r', '\n']);
        if text.contains(['\r', '\n']) {
            self.line(b'-', &text.replace(['\r', '\n'], " "));
        } else {
            self.line(b'-', text);
        }
    }

    /// The same with bytes that need not be text.
    pub fn error_bytes(&mut self, text: &[u8]) {
        let end = text.iter().rposition(|b| !matches!(b, b'\r' | b'\n')).map_or(0, |last| last + 1);
        let text = &text[..end];
        self.out.push(b'-');
        self.out.extend(text.iter().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { *b }));
        self.raw(b"\r\n");
    }

    /// `:number`.
    pub fn integer(&mut self, number: i64) {
        self.number_line(b':', number);
    }

    /// `$length`, bytes.
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.number_line(b'$', bytes.len() as i64);
        self.raw(bytes);
        self.raw(b"\r\n");
    }

    /// Absent: `$-1` in RESP2, `_` in RESP3.
    pub fn null(&mut self) {
        self.raw(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// Absent where an array was asked for: `*-1` in RESP2, `_` in RESP3.
    pub fn null_array(&mut self) {
        self.raw(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// Bytes, or absent.
    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// Head of an array of `len` replies.
    pub fn array(&mut self, len: usize) {
        self.number_line(b'*', len as i64);
    }

    /// Head of a map of `len` pairs; a flat array of `2 * len` in RESP2.
    pub fn map(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.array(len * 2),
            Protocol::Resp3 => self.number_line(b'%', len as i64),
        }
    }

    /// Head of a set; an array in RESP2.
    pub fn set(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.array(len),
            Protocol::Resp3 => self.number_line(b'~', len as i64),
        }
    }

    /// Head of an out-of-band push; an array in RESP2.
    pub fn push(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.array(len),
            Protocol::Resp3 => self.number_line(b'>', len as i64),
        }
    }

    /// True or false; 1 or 0 in RESP2.
    pub fn boolean(&mut self, value: bool) {
        match self.protocol {
            Protocol::Resp2 => self.integer(i64::from(value)),
            Protocol::Resp3 => self.raw(if value { b"#t\r\n" } else { b"#f\r\n" }),
        }
    }

    /// Text for people, as INFO and CLUSTER NODES give it; `kind` is `txt` or `mkd`. A bulk string in RESP2.
    pub fn verbatim(&mut self, kind: &str, text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.number_line(b'=', text.len() as i64 + 4);
                self.raw(kind.as_bytes());
                self.raw(b":");
                self.raw(text);
                self.raw(b"\r\n");
            }
        }
    }

    fn line(&mut self, kind: u8, text: &str) {
        self.out.push(kind);
        self.raw(text.as_bytes());
        self.raw(b"\r\n");
    }

    fn number_line(&mut self, kind: u8, number: i64) {
        self.out.push(kind);
        put_number(self.out, number);
        self.raw(b"\r\n");
    }
}
