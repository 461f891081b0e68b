//! Encoders of what no server at hand writes any more, and of what is damaged on purpose.

use node_server_rdb::encoding::{put_length, put_string};

/// A string in the encoding of RDB.
pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_string(&mut out, bytes);
    out
}

/// A length.
pub(crate) fn length(len: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_length(&mut out, len);
    out
}

/// A body: type, and the container as one string.
pub(crate) fn packed(kind: u8, container: &[u8]) -> Vec<u8> {
    [&[kind][..], &string(container)].concat()
}

/// What an entry of a ziplist is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Zip<'b> {
    Text(&'b [u8]),
    /// In the narrowest encoding.
    Integer(i64),
}

fn zip_encoding(entry: Zip<'_>) -> Vec<u8> {
    match entry {
        Zip::Text(text) => {
            let header = match text.len() {
                len @ 0..64 => vec![len as u8],
                len @ 64..16_384 => (0x4000 | len as u16).to_be_bytes().to_vec(),
                len => [&[0x80][..], &(len as u32).to_be_bytes()].concat(),
            };
            [&header, text].concat()
        }
        Zip::Integer(n @ 0..=12) => vec![0xf1 + n as u8],
        Zip::Integer(n @ -0x80..=0x7f) => vec![0xfe, n as u8],
        Zip::Integer(n @ -0x8000..=0x7fff) => [&[0xc0][..], &n.to_le_bytes()[..2]].concat(),
        Zip::Integer(n @ -0x80_0000..=0x7f_ffff) => [&[0xf0][..], &n.to_le_bytes()[..3]].concat(),
        Zip::Integer(n @ -0x8000_0000..=0x7fff_ffff) => [&[0xd0][..], &n.to_le_bytes()[..4]].concat(),
        Zip::Integer(n) => [&[0xe0][..], &n.to_le_bytes()].concat(),
    }
}

/// A ziplist, as Redis up to 6.2 wrote it.
pub(crate) fn ziplist(entries: &[Zip<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    let (mut previous, mut tail) = (0, 10);
    for entry in entries {
        tail = 10 + body.len();
        match u8::try_from(previous) {
            Ok(len) if len < 254 => body.push(len),
            _ => body.extend([&[0xfe][..], &(previous as u32).to_le_bytes()].concat()),
        }
        body.extend(zip_encoding(*entry));
        previous = 10 + body.len() - tail;
    }
    let len = (body.len() + 11) as u32;
    let count = u16::try_from(entries.len()).unwrap_or(u16::MAX);
    [&len.to_le_bytes()[..], &(tail as u32).to_le_bytes(), &count.to_le_bytes(), &body, &[0xff]].concat()
}

/// A listpack of texts below 64 bytes and numbers from 0 to 127.
pub(crate) fn listpack(elements: &[Zip<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for element in elements {
        let start = body.len();
        match element {
            Zip::Text(text) => {
                assert!(text.len() < 64, "not needed");
                body.push(0x80 | text.len() as u8);
                body.extend(*text);
            }
            Zip::Integer(n) => {
                assert!((0..128).contains(n), "not needed");
                body.push(*n as u8);
            }
        }
        body.push((body.len() - start) as u8);
    }
    let len = (body.len() + 7) as u32;
    [&len.to_le_bytes()[..], &(elements.len() as u16).to_le_bytes(), &body, &[0xff]].concat()
}

/// An intset of numbers of `width` bytes.
pub(crate) fn intset(width: u32, numbers: &[i64]) -> Vec<u8> {
    let numbers_as_bytes = numbers.iter().flat_map(|n| n.to_le_bytes().into_iter().take(width as usize));
    let header = [width.to_le_bytes(), (numbers.len() as u32).to_le_bytes()].concat();
    header.into_iter().chain(numbers_as_bytes).collect()
}

/// A zipmap, as Redis up to 2.4 wrote it, with this many unused bytes behind each value.
pub(crate) fn zipmap(fields: &[(&[u8], &[u8])], unused: u8) -> Vec<u8> {
    let mut out = vec![u8::try_from(fields.len()).unwrap_or(254).min(254)];
    let put_len = |out: &mut Vec<u8>, len: usize| match len {
        0..254 => out.push(len as u8),
        _ => out.extend([&[254][..], &(len as u32).to_le_bytes()].concat()),
    };
    for (name, value) in fields {
        put_len(&mut out, name.len());
        out.extend(*name);
        put_len(&mut out, value.len());
        out.push(unused);
        out.extend(*value);
        out.extend(vec![b'?'; usize::from(unused)]);
    }
    out.push(0xff);
    out
}
