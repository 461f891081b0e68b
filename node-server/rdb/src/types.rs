//! The numbers of types and opcodes. Source: reference/persistence §3.1.

pub(crate) const STRING: u8 = 0;
pub(crate) const LIST: u8 = 1;
pub(crate) const SET: u8 = 2;
pub(crate) const ZSET: u8 = 3;
pub(crate) const HASH: u8 = 4;
pub(crate) const ZSET_2: u8 = 5;
pub(crate) const MODULE_PRE_GA: u8 = 6;
pub(crate) const MODULE_2: u8 = 7;
pub(crate) const HASH_ZIPMAP: u8 = 9;
pub(crate) const LIST_ZIPLIST: u8 = 10;
pub(crate) const SET_INTSET: u8 = 11;
pub(crate) const ZSET_ZIPLIST: u8 = 12;
pub(crate) const HASH_ZIPLIST: u8 = 13;
pub(crate) const LIST_QUICKLIST: u8 = 14;
pub(crate) const STREAM_LISTPACKS: u8 = 15;
pub(crate) const HASH_LISTPACK: u8 = 16;
pub(crate) const ZSET_LISTPACK: u8 = 17;
pub(crate) const LIST_QUICKLIST_2: u8 = 18;
pub(crate) const STREAM_LISTPACKS_2: u8 = 19;
pub(crate) const SET_LISTPACK: u8 = 20;
pub(crate) const STREAM_LISTPACKS_3: u8 = 21;
/// Two meanings: in data of Valkey a hash with field expiry, in that of Redis the same in the layout of 7.4's release
/// candidates.
pub(crate) const HASH_2: u8 = 22;
pub(crate) const HASH_LISTPACK_EX_PRE_GA: u8 = 23;
pub(crate) const HASH_METADATA: u8 = 24;
pub(crate) const HASH_LISTPACK_EX: u8 = 25;

/// Two meanings: Valkey 9's SLOT_IMPORT, Redis 8.6's KEY_META.
pub(crate) const OP_SLOT_IMPORT: u8 = 243;
pub(crate) const OP_SLOT_INFO: u8 = 244;
pub(crate) const OP_FUNCTION2: u8 = 245;
pub(crate) const OP_FUNCTION_PRE_GA: u8 = 246;
pub(crate) const OP_MODULE_AUX: u8 = 247;
pub(crate) const OP_IDLE: u8 = 248;
pub(crate) const OP_FREQ: u8 = 249;
pub(crate) const OP_AUX: u8 = 250;
pub(crate) const OP_RESIZEDB: u8 = 251;
pub(crate) const OP_EXPIRETIME_MS: u8 = 252;
pub(crate) const OP_EXPIRETIME: u8 = 253;
pub(crate) const OP_SELECTDB: u8 = 254;
pub(crate) const OP_EOF: u8 = 255;

/// What a type is called that is known and not held.
pub(crate) fn refused_type(kind: u8) -> &'static str {
    match kind {
        MODULE_PRE_GA => "a module's value of Redis 4.0's release candidates",
        MODULE_2 => "a module's value",
        26 => "STREAM_LISTPACKS_4, a stream with idempotent producers of Redis 8.6",
        27 => "STREAM_LISTPACKS_5, a stream with released entries of Redis 8.8",
        28 => "ARRAY of Redis 8.8",
        29 => "GCRA, a rate limiter of Redis 8.8",
        _ => "unknown",
    }
}

/// What an opcode is called that is known and not read.
pub(crate) fn refused_opcode(code: u8) -> &'static str {
    match code {
        OP_SLOT_IMPORT => "KEY_META, modules' data about keys of Redis 8.6",
        OP_FUNCTION_PRE_GA => "FUNCTION_PRE_GA, a function library of Redis 7.0's release candidates",
        OP_MODULE_AUX => "MODULE_AUX, data of a module",
        _ => "unknown",
    }
}
