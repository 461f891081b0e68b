use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn write_request(args: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = ReplyWriter::new(&mut out, Protocol::Resp2);
    writer.array(args.len());
    args.iter().for_each(|arg| writer.bulk(arg));
    out
}

/// Replies that every part of which can be written and read back.
fn reply() -> impl Strategy<Value = Reply> {
    let leaf = prop_oneof![
        "[^\r\n]{0,20}".prop_map(Reply::Simple),
        "ERR [^\r\n]{0,20}".prop_map(Reply::Error),
        any::<i64>().prop_map(Reply::Integer),
        vec(any::<u8>(), 0..40).prop_map(Reply::Bulk),
        Just(Reply::Null),
        any::<bool>().prop_map(Reply::Boolean),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Reply::Array),
            vec(inner.clone(), 0..5).prop_map(Reply::Push),
            vec((inner.clone(), inner), 0..4).prop_map(Reply::Map),
        ]
    })
}

fn write_reply(reply: &Reply, out: &mut ReplyWriter<'_>) {
    match reply {
        Reply::Simple(text) => out.simple(text),
        Reply::Error(text) => out.error(text),
        Reply::Integer(n) => out.integer(*n),
        Reply::Bulk(bytes) => out.bulk(bytes),
        Reply::Null => out.null(),
        Reply::Boolean(value) => out.boolean(*value),
        Reply::Array(items) => {
            out.array(items.len());
            items.iter().for_each(|item| write_reply(item, out));
        }
        Reply::Push(items) => {
            out.push(items.len());
            items.iter().for_each(|item| write_reply(item, out));
        }
        Reply::Map(pairs) => {
            out.map(pairs.len());
            for (key, value) in pairs {
                write_reply(key, out);
                write_reply(value, out);
            }
        }
        Reply::Double(_) | Reply::BigNumber(_) => unreachable!("not made by reply()"),
    }
}

/// What a RESP2 client gets to see.
fn in_resp2(reply: Reply) -> Reply {
    match reply {
        Reply::Boolean(value) => Reply::Integer(value.into()),
        Reply::Array(items) | Reply::Push(items) => Reply::Array(items.into_iter().map(in_resp2).collect()),
        Reply::Map(pairs) => {
            Reply::Array(pairs.into_iter().flat_map(|(k, v)| [in_resp2(k), in_resp2(v)]).collect())
        }
        other => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn request_round_trip(args in vec(vec(any::<u8>(), 0..40), 1..9), rest in vec(any::<u8>(), 0..9)) {
        let mut bytes = write_request(&args);
        let len = bytes.len();
        bytes.extend(rest);
        let parsed = parse_request(&bytes, &Limits::default());
        let expected = Parsed::Request { args: args.iter().map(Vec::as_slice).collect(), consumed: len };
        prop_assert_eq!(parsed, Ok(expected));
    }

    /// Every front part asks for more, and for no more than there is to come.
    #[test]
    fn requests_in_parts(args in vec(vec(any::<u8>(), 0..9), 1..5)) {
        let bytes = write_request(&args);
        for cut in 0..bytes.len() {
            let parsed = parse_request(&bytes[..cut], &Limits::default());
            let Ok(Parsed::Incomplete { at_least }) = parsed else { panic!("{parsed:?} after {cut} bytes") };
            prop_assert!(cut < at_least && at_least <= bytes.len());
        }
    }

    #[test]
    fn any_request(bytes in vec(any::<u8>(), 0..200)) {
        let _ = parse_request(&bytes, &Limits::default());
    }

    /// Bytes that look more like requests.
    #[test]
    fn any_request_like(text in "[*$0-9 a\"'\\\\x\r\n-]{0,80}") {
        let limits = Limits { bulk_len: 100, args: 10, line_len: 40, stranger: false };
        for start in ["", "*", "*2\r\n", "*1\r\n$"] {
            if let Ok(Parsed::Request { consumed, .. } | Parsed::Inline { consumed, .. }) =
                parse_request(format!("{start}{text}").as_bytes(), &limits)
            {
                prop_assert!((1..=start.len() + text.len()).contains(&consumed));
            }
        }
    }

    #[test]
    fn reply_round_trip(reply in reply(), rest in vec(any::<u8>(), 0..9)) {
        for protocol in [Protocol::Resp3, Protocol::Resp2] {
            let mut bytes = Vec::new();
            write_reply(&reply, &mut ReplyWriter::new(&mut bytes, protocol));
            let len = bytes.len();
            for cut in 0..len {
                prop_assert_eq!(parse_reply(&bytes[..cut]), Ok(None), "only {} of {} bytes", cut, len);
            }
            bytes.extend(&rest);
            let expected = if protocol == Protocol::Resp2 { in_resp2(reply.clone()) } else { reply.clone() };
            prop_assert_eq!(parse_reply(&bytes), Ok(Some((expected, len))));
        }
    }

    #[test]
    fn any_reply(bytes in vec(any::<u8>(), 0..200)) {
        let _ = parse_reply(&bytes);
    }

    #[test]
    fn any_reply_like(text in "[*$%~>:+,_0-9a\r\n-]{0,80}") {
        let _ = parse_reply(text.as_bytes());
    }
}

#[test]
fn errors_keep_to_one_line() {
    let mut bytes = Vec::new();
    ReplyWriter::new(&mut bytes, Protocol::Resp2).error("ERR a\r\nb");
    let parsed = parse_reply(&bytes);
    assert!(matches!(parsed, Ok(Some((Reply::Error(_), len))) if len == bytes.len()), "{parsed:?}");
}

#[test]
fn nesting_is_bounded() {
    assert_eq!(parse_reply(&b"*1\r\n".repeat(40)), Err(ReplyError::Depth));
}

#[test]
fn lengths_are_bounded() {
    let limits = Limits { bulk_len: 10, args: 2, line_len: 64, stranger: false };
    assert_eq!(parse_request(b"*3\r\n", &limits), Err(RequestError::ArgumentCount));
    assert_eq!(parse_request(b"*1\r\n$11\r\n", &limits), Err(RequestError::BulkLength));
    assert_eq!(parse_request(b"*1\r\n$-1\r\n", &limits), Err(RequestError::BulkLength));
    assert_eq!(parse_request(b"*1\r\n:1\r\n", &limits), Err(RequestError::ExpectedDollar(':')));
    assert_eq!(parse_request(&b"x".repeat(64), &limits), Err(RequestError::LongInline));
    assert!(matches!(parse_reply(b"$600000000\r\n"), Err(ReplyError::Number(_))));
}

#[test]
fn inline_requests() {
    let Ok(Parsed::Inline { args, consumed }) =
        parse_request(b"set 'a b' \"\\x41\\n\"\r\nrest", &Limits::default())
    else {
        panic!()
    };
    assert_eq!(args, [b"set".to_vec(), b"a b".to_vec(), b"A\n".to_vec()]);
    assert_eq!(consumed, 20);
    assert_eq!(parse_request(b"set \"a\r\n", &Limits::default()), Err(RequestError::Quotes));
}

#[test]
fn errors_stay_on_one_line() {
    let mut out = Vec::new();
    let mut reply = ReplyWriter::new(&mut out, Protocol::Resp2);
    reply.error("ERR a\r\nb\n");
    reply.error_bytes(b"ERR \xff\nb\r\n\n");
    reply.error_bytes(b"\n");
    assert_eq!(out, b"-ERR a  b\r\n-ERR \xff b\r\n-\r\n");
    assert_eq!(until_nul(b"a\0b\0"), b"a");
    assert_eq!(until_nul(b""), b"");
}

#[test]
fn strangers_may_say_little() {
    use super::request::{STRANGER_ARGS, STRANGER_BULK_LEN};
    let limits = Limits { stranger: true, ..Limits::default() };
    let request = |args: usize, len: usize| write_request(&vec![vec![b'x'; len]; args]);
    let most = request(STRANGER_ARGS, STRANGER_BULK_LEN);
    assert!(matches!(parse_request(&most, &limits), Ok(Parsed::Request { .. })));
    assert_eq!(parse_request(b"*11\r\n", &limits), Err(RequestError::StrangersCount));
    assert_eq!(parse_request(b"*1\r\n$16385\r\n", &limits), Err(RequestError::StrangersLength));
    assert!(matches!(parse_request(&request(11, 16_385), &Limits::default()), Ok(Parsed::Request { .. })));
}

/// Short lines are read in another way than long ones: what is taken and refused is the same.
#[test]
fn lengths_of_every_kind_are_read_alike() {
    let limits = Limits { bulk_len: 2000, ..Limits::default() };
    for len in [0, 1, 9, 10, 99, 100, 999, 1000, 2000] {
        let text = format!("*2\r\n$1\r\na\r\n${len}\r\n{}\r\n", "x".repeat(len));
        let Ok(Parsed::Request { args, consumed }) = parse_request(text.as_bytes(), &limits) else {
            panic!("{len} bytes are within the limit");
        };
        assert_eq!((args.len(), args[1].len(), consumed), (2, len, text.len()));
        for cut in 0..text.len().min(20) {
            let cut = parse_request(&text.as_bytes()[..cut], &limits);
            assert!(matches!(cut, Ok(Parsed::Incomplete { at_least }) if at_least <= text.len()), "{cut:?}");
        }
    }
    for (line, expected) in [
        ("$01\r\na\r\n", RequestError::BulkLength),
        ("$00\r\n\r\n", RequestError::BulkLength),
        ("$-1\r\n", RequestError::BulkLength),
        ("$\r\n", RequestError::BulkLength),
        ("$1x\r\na\r\n", RequestError::BulkLength),
        ("$2001\r\n", RequestError::BulkLength),
        ("$+1\r\na\r\n", RequestError::BulkLength),
        (":1\r\n", RequestError::ExpectedDollar(':')),
    ] {
        assert_eq!(parse_request(format!("*1\r\n{line}").as_bytes(), &limits), Err(expected), "{line}");
    }
    for line in ["*01\r\n", "*1x\r\n", "*x\r\n"] {
        let refused = parse_request(line.as_bytes(), &limits);
        assert_eq!(refused, Err(RequestError::ArgumentCount), "{line}");
    }
    for line in ["*0\r\n", "*-1\r\n"] {
        let nothing = parse_request(line.as_bytes(), &limits);
        assert!(
            matches!(nothing, Ok(Parsed::Request { args, consumed }) if args.is_empty() && consumed == line.len())
        );
    }
}
