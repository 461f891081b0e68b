//! Payloads that are changed at random, with a seeded generator.

use super::build::{Zip, intset, listpack, packed, string, ziplist, zipmap};
use super::corpus::cases;
use node_server_rdb::encoding::Input;
use node_server_rdb::writer::put_key;
use node_server_rdb::{Dialect, decode_dump, encode_dump};

/// Xorshift: the runs shall be the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Bytes that decoders look at.
const TELLING: [u8; 20] =
    [0, 1, 2, 3, 5, 0x3f, 0x40, 0x7f, 0x80, 0x81, 0xbf, 0xc0, 0xc3, 0xdf, 0xe0, 0xf0, 0xf4, 0xfd, 0xfe, 0xff];

/// Some changes: bytes and bits, pieces that are cut, doubled or taken from elsewhere.
pub(crate) fn change(random: &mut Random, body: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=random.below(4) {
        let at = random.below(body.len());
        let end = at + random.below(12).min(body.len() - at);
        match (random.below(7), body.get_mut(at)) {
            (0, Some(byte)) => *byte = random.next() as u8,
            (1 | 2, Some(byte)) => *byte = TELLING[random.below(TELLING.len())],
            (3, Some(byte)) => *byte ^= 1 << random.below(8),
            (4, _) => drop(body.drain(at..end)),
            (5, _) => {
                let piece = body[at..end].to_vec();
                body.splice(at..at, piece);
            }
            _ => {
                let from = random.below(other.len());
                let piece = &other[from..(from + 12).min(other.len())];
                body.splice(at..end, piece.iter().copied());
            }
        }
    }
}

/// A body with nothing compressed, so that changes reach the decoder inside: containers are strings that are taken
/// apart and put together again with their length.
pub(crate) struct Seed {
    pub(crate) kind: u8,
    pub(crate) version: u16,
    pub(crate) body: Vec<u8>,
}

pub(crate) fn seeds() -> Vec<Seed> {
    let of_corpus = cases().into_iter().map(|case| {
        let end = case.payload.len() - 10;
        let version = u16::from_le_bytes([case.payload[end], case.payload[end + 1]]);
        Seed { kind: case.payload[0], version, body: case.payload[..end].to_vec() }
    });
    let zip = [Zip::Text(b"a"), Zip::Integer(7), Zip::Text(&[b'x'; 300]), Zip::Integer(-70_000)];
    let small = [Zip::Text(b"a"), Zip::Integer(7), Zip::Text(b"some text"), Zip::Integer(100)];
    let triples =
        [Zip::Text(b"a"), Zip::Integer(7), Zip::Integer(0), Zip::Text(b"b"), Zip::Text(b""), Zip::Integer(9)];
    let field = [string(b"field"), string(b"value")].concat();
    let by_hand = [
        [&[1, 2][..], &string(b"a"), &string(b"-129")].concat(),
        [&[3, 2][..], &string(b"a"), b"\x031.5", &string(b"b"), &[254]].concat(),
        packed(9, &zipmap(&[(b"field", b"value"), (b"g", &[b'x'; 300])], 2)),
        packed(10, &ziplist(&zip)),
        packed(11, &intset(8, &[-9, 4, 1 << 40])),
        packed(12, &ziplist(&zip)),
        packed(13, &ziplist(&zip)),
        [&[14, 2][..], &string(&ziplist(&zip)), &string(&ziplist(&zip[..2]))].concat(),
        packed(16, &listpack(&small)),
        packed(17, &listpack(&small)),
        [&[18, 2, 2][..], &string(&listpack(&small)), &[1], &string(b"plain")].concat(),
        packed(20, &listpack(&small)),
        [&[22, 1, 9][..], &field].concat(),
        packed(23, &listpack(&triples)),
        [&[24][..], &99_u64.to_le_bytes(), &[1, 1], &field].concat(),
        [&[25][..], &9_u64.to_le_bytes(), &string(&listpack(&triples))].concat(),
    ];
    let by_hand = by_hand.into_iter().map(|body| Seed { kind: body[0], version: 12, body });
    // Ours: every stream uncompressed, of the oldest type too.
    let rewritten = cases().into_iter().filter(|case| case.held.starts_with("stream")).flat_map(|case| {
        let value = decode_dump(&case.payload).expect("the corpus is good");
        let mut newest = Vec::new();
        put_key(&mut newest, b"", &value, None, Dialect::Valkey).expect("it can be written");
        newest.remove(1);
        let payload = encode_dump(&value).expect("it can be written");
        let plain = payload[..payload.len() - 10].to_vec();
        [
            Seed { kind: 21, version: 80, body: newest },
            Seed { kind: 19, version: 10, body: plain.clone() },
            Seed { kind: 15, version: 9, body: [&[15], &plain[1..]].concat() },
        ]
    });
    of_corpus.chain(by_hand).chain(rewritten).collect()
}

/// The string in a packed body behind `offset`, changed, with its length and the header's put right half of the time.
pub(crate) fn change_inside(random: &mut Random, body: &mut Vec<u8>, other: &[u8]) -> Option<()> {
    let offset = if body[0] == 25 { 9 } else { 1 };
    let value = Input::new(body.get(offset..)?).string("a container").ok()?;
    let mut container = value;
    change(random, &mut container, other);
    let is_measured = matches!(body[0], 10 | 12 | 13 | 16 | 17 | 20 | 23 | 25);
    if is_measured && container.len() >= 4 && random.below(2) == 0 {
        let len = (container.len() as u32).to_le_bytes();
        container[..4].copy_from_slice(&len);
    }
    body.truncate(offset);
    body.extend(string(&container));
    Some(())
}

/// A changed body of this type, made of these seeds.
pub(crate) fn changed(random: &mut Random, kind: u8, seeds: &[&Seed]) -> (Vec<u8>, u16) {
    let seed = seeds[random.below(seeds.len())];
    let other = &seeds[random.below(seeds.len())].body;
    let mut body = seed.body.clone();
    let is_packed = matches!(kind, 9..=13 | 16 | 17 | 20 | 23 | 25);
    if !is_packed || random.below(3) == 0 || change_inside(random, &mut body, other).is_none() {
        change(random, &mut body, other);
    }
    match body.first_mut() {
        Some(first) => *first = kind,
        None => body.push(kind),
    }
    (body, seed.version)
}

/// The seeds that are small, by type.
pub(crate) fn by_kind(seeds: &[Seed]) -> Vec<(u8, Vec<&Seed>)> {
    let mut kinds: Vec<u8> = seeds.iter().map(|seed| seed.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let of_kind = |kind| seeds.iter().filter(move |seed| seed.kind == kind && seed.body.len() < 3000);
    kinds.into_iter().map(|kind| (kind, of_kind(kind).collect())).collect()
}

pub(crate) fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}
