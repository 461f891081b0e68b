#!/usr/bin/env python3
"""Makes tests/golden/corpus.txt and the *-all.rdb files from the two real servers.

Usage: make-golden.py REDIS_SERVER VALKEY_SERVER     (redis-server 7.0.15, valkey-server 9.1.2)

For each case: the commands that made the key, the DUMP payload, and what the key holds as the server itself answers
(LRANGE, HGETALL, XINFO STREAM FULL, ...), in the notation that tests/common/text.rs makes of a decoded value. Both
servers get the same commands. Each runs on loopback, on a port of its own, in a temporary directory.
"""
import os, shutil, socket, struct, subprocess, sys, tempfile

EXPIRY = 33177117420000  # the year 3021: it never passes while the tests run


class Server:
    def __init__(self, program):
        self.directory = tempfile.mkdtemp(prefix="slotkeeper-golden-")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                   "--dir", self.directory, "--enable-debug-command", "yes"]
        self.process = subprocess.Popen([program, *options], stdout=subprocess.PIPE)
        for line in self.process.stdout:
            if b"eady to accept connections" in line:
                break
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.file = self.socket.makefile("rb")

    def __call__(self, *args):
        args = [a if isinstance(a, bytes) else str(a).encode() for a in args]
        self.socket.sendall(b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in args))
        return self.reply()

    def reply(self):
        line = self.file.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.reply() for _ in range(int(rest))]
        return rest

    def close(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory)


def numbered(prefix, count):
    return [f"{prefix}:{n}" for n in range(count)]


def pairs(prefix, count):
    return [part for n in range(count) for part in (f"{prefix}:{n}", f"value {n}")]


INTEGERS = [0, 12, 13, 127, 128, -1, -4096, 4095, -4097, 4096, 32767, -32768, 32768, 8388607, -8388608, 8388608,
            2147483647, -2147483648, 2147483648, 9223372036854775807, -9223372036854775808]
LOOK_LIKE_INTEGERS = ["", "-", "00", "+1", "-0", " 1", "9223372036854775808", "1.0"]
# Around the limits of length encodings and of back-lengths.
LENGTHS = [1, 63, 64, 125, 126, 127, 4095, 4096, 16377, 16378, 16379, 16380, 20000]
EVERY_BYTE = bytes(range(256))

CASES = {
    "string-text": [["SET", "k", "hello"]],
    "string-empty": [["SET", "k", ""]],
    "string-int8": [["SET", "k", "-7"]],
    "string-int16": [["SET", "k", "1234"]],
    "string-int32": [["SET", "k", "-2000000000"]],
    "string-int64": [["SET", "k", "9223372036854775807"]],
    "string-compressed": [["SET", "k", "ab" * 300]],
    "string-binary": [["SET", "k", EVERY_BYTE]],
    "list-small": [["RPUSH", "k", "a", "b", "a", ""]],
    "list-integers": [["RPUSH", "k", *INTEGERS, *LOOK_LIKE_INTEGERS]],
    "list-lengths": [["RPUSH", "k", *["x" * n for n in LENGTHS]]],
    "list-big": [["CONFIG", "SET", "list-max-listpack-size", "-1"], ["RPUSH", "k", *numbered("element", 450)]],
    "list-compressed-nodes": [["CONFIG", "SET", "list-compress-depth", "1"], ["CONFIG", "SET", "list-max-listpack-size", "16"],
                              ["RPUSH", "k", *numbered("element", 70)]],
    "list-plain-nodes": [["DEBUG", "QUICKLIST-PACKED-THRESHOLD", "100B"], ["RPUSH", "k", "x" * 101, "b", EVERY_BYTE]],
    "set-intset16": [["SADD", "k", "3", "-1", "32767"]],
    "set-intset32": [["SADD", "k", "3", "-1", "-2147483648"]],
    "set-intset64": [["SADD", "k", "3", "-1", "9223372036854775807"]],
    "set-small": [["SADD", "k", "a", "1", "", EVERY_BYTE[:60]]],
    "set-big": [["SADD", "k", *numbered("member", 140)]],
    "zset-small": [["ZADD", "k", "1", "a", "-inf", "b", "inf", "c", "0.1", "d", "1e300", "", "-7", "5"]],
    "zset-big": [["ZADD", "k", *[part for n in range(140) for part in (f"{n}.5", f"member:{n}")], "inf", "x", "-inf", "y"]],
    "hash-small": [["HSET", "k", "f", "v", "1", "2", "", "", "binary", EVERY_BYTE[:64]]],
    "hash-big": [["CONFIG", "SET", "hash-max-listpack-entries", "64"], ["HSET", "k", *pairs("field", 70)]],
    "hash-long": [["HSET", "k", "f", "v" * 5000, "g", EVERY_BYTE * 2]],
    "stream-small": [["XADD", "k", "1-1", "a", "1", "b", "2"], ["XADD", "k", "1-2", "a", "3", "b", "x"],
                     ["XADD", "k", "5-0", "other", "", "other", EVERY_BYTE]],
    "stream-empty": [["XADD", "k", "7-3", "a", "1"], ["XDEL", "k", "7-3"]],
    "stream-deleted": [*[["XADD", "k", f"{n}-{9 - n}", "f", n] for n in range(1, 9)], ["XDEL", "k", "1-8", "4-5", "8-1"]],
    "stream-big": [["XADD", "k", f"{1700000000000 + n * n}-{n % 3}", "sensor", n % 7, "text", "some text " * (n % 9)]
                   for n in range(130)],
    "stream-groups": [
        *[["XADD", "k", f"{n}-0", "f", "v"] for n in range(1, 7)],
        ["XGROUP", "CREATE", "k", "one", "0"], ["XGROUP", "CREATE", "k", "two", "3-0", "ENTRIESREAD", "3"],
        ["XGROUP", "CREATE", "k", "none", "2-5"],
        ["XREADGROUP", "GROUP", "one", "alice", "COUNT", "2", "STREAMS", "k", ">"],
        ["XREADGROUP", "GROUP", "one", "bob", "COUNT", "3", "STREAMS", "k", ">"],
        ["XGROUP", "CREATECONSUMER", "k", "one", "idle"], ["XACK", "k", "one", "1-0"],
        ["XCLAIM", "k", "one", "alice", "0", "4-0", "TIME", "1700000000123", "RETRYCOUNT", "7"],
        ["XREADGROUP", "GROUP", "two", "carol", "STREAMS", "k", ">"], ["XDEL", "k", "5-0"]],
}
VALKEY_CASES = {
    "hash-expiring-small": [["HSET", "k", "f", "v", "g", "w", "h", ""],
                            ["HPEXPIREAT", "k", EXPIRY, "FIELDS", "1", "g"], ["HPEXPIREAT", "k", EXPIRY + 1, "FIELDS", "1", "h"]],
    "hash-expiring-big": [["CONFIG", "SET", "hash-max-listpack-entries", "64"], ["HSET", "k", *pairs("field", 70)],
                          ["HPEXPIREAT", "k", EXPIRY, "FIELDS", "3", "field:1", "field:2", "field:69"]],
}
RESET = [["CONFIG", "SET", "list-compress-depth", "0"], ["CONFIG", "SET", "list-max-listpack-size", "-2"],
         ["CONFIG", "SET", "hash-max-listpack-entries", "128"],
         ["DEBUG", "QUICKLIST-PACKED-THRESHOLD", "0"]]


def shown(command):
    words = []
    for word in command:
        text = word if isinstance(word, bytes) else str(word).encode()
        plain = text.decode("ascii") if text and all(33 <= b < 127 for b in text) else repr(text)[1:]
        words.append(plain if len(plain) < 60 else f"{plain[:24]}...({len(text)} bytes)")
    return " ".join(words if len(words) < 40 else [*words[:12], f"...({len(words)} words)"])


def hexed(data):
    """Hexadecimal; long runs of one byte are shortened."""
    return f"{data[:1].hex()}*{len(data)}" if len(data) > 8 and len(set(data)) == 1 else data.hex()


def held(server, key):
    """What the key holds, in the notation of tests/common/text.rs."""
    kind = server("TYPE", key).decode()
    if kind == "string":
        words = [hexed(server("GET", key))]
    elif kind == "list":
        words = [hexed(item) for item in server("LRANGE", key, 0, -1)]
    elif kind == "set":
        words = sorted(hexed(item) for item in server("SMEMBERS", key))
    elif kind == "zset":
        flat = server("ZRANGE", key, 0, -1, "WITHSCORES")
        words = sorted(hexed(m) + "=" + struct.pack(">d", float(s)).hex() for m, s in zip(flat[::2], flat[1::2]))
    elif kind == "hash":
        words = sorted(map("".join, hash_words(server, key)))
    else:
        return stream(dict_of(server("XINFO", "STREAM", key, "FULL", "COUNT", 0)))
    return " ".join([kind, *words])


def hash_words(server, key):
    flat = server("HGETALL", key)
    for name, value in zip(flat[::2], flat[1::2]):
        try:
            expiry = server("HPEXPIRETIME", key, "FIELDS", 1, name)[0]
        except RuntimeError:  # Redis 7.0 has none
            expiry = -1
        yield hexed(name) + "=" + hexed(value), f"@{expiry}" if expiry >= 0 else ""


def dict_of(flat):
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2])}


def stream(info):
    fields = ["last-generated-id", "recorded-first-entry-id", "max-deleted-entry-id"]
    words = ["stream", *[info[field].decode() for field in fields], str(info["entries-added"])]
    for entry_id, fields in info["entries"]:
        words += [";", entry_id.decode(), *[hexed(n) + "=" + hexed(v) for n, v in zip(fields[::2], fields[1::2])]]
    for group in map(dict_of, info["groups"]):
        read = group["entries-read"]
        words += ["; group", hexed(group["name"]), group["last-delivered-id"].decode(), "-" if read is None else str(read)]
        for entry_id, _, time, count in group.get("pel", group.get("pending")):
            words += ["; pending", entry_id.decode(), str(time), str(count)]
        for consumer in map(dict_of, group["consumers"]):
            seen = consumer["seen-time"]
            active = consumer.get("active-time", seen)
            words += ["; consumer", hexed(consumer["name"]), str(seen), "-" if active < 0 else str(active)]
            words += [f"; owns {entry_id.decode()}" for entry_id, *_ in consumer.get("pel", consumer.get("pending"))]
    return " ".join(words)


def corpus(program, label, cases, out, directory):
    server = Server(program)
    try:
        for name, commands in cases.items():
            for command in commands:
                server(*command)
            payload = server("DUMP", "k")
            out.write(f"case {label} {name}\n")
            out.writelines(f"# {shown(command)}\n" for command in commands)
            out.write(f"dump {payload.hex()}\nheld {held(server, 'k')}\n\n")
            server("RENAME", "k", name)
            for command in RESET:
                server(*command)
        server("SET", "expires", "v", "PXAT", EXPIRY)
        server("SELECT", 3)
        server("SET", "in db 3", "x")
        server("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 1 end)")
        server("SAVE")
        shutil.copy(os.path.join(server.directory, "dump.rdb"), os.path.join(directory, f"{label}-all.rdb"))
    finally:
        server.close()


def main():
    redis, valkey = sys.argv[1:]
    directory = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
    with open(os.path.join(directory, "corpus.txt"), "w", encoding="ascii") as out:
        out.write("# Made by tests/make-golden.py; do not edit.\n\n")
        corpus(redis, "redis-7.0.15", CASES, out, directory)
        corpus(valkey, "valkey-9.1.2", CASES | VALKEY_CASES, out, directory)


if __name__ == "__main__":
    main()
