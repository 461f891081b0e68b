#!/usr/bin/env python3
"""Captures frames of the cluster bus between four real servers: capture.py SERVER_BINARY OUT_DIR BASE_PORT

Every node announces the port of a proxy as its bus port; the proxy keeps the longest-lived example of each kind of
frame. Nodes have chosen names (1111…, 2222…), so that the tests can name what they expect.
Ports used on 127.0.0.1: BASE_PORT+1…4 (clients), +101…104 (bus), +201…204 (proxies).
"""
import atexit, os, re, signal, socket, subprocess, sys, tempfile, threading, time

SERVER, OUT, BASE = sys.argv[1], sys.argv[2], int(sys.argv[3])
KINDS = ["ping", "pong", "meet", "fail", "publish", "auth-req", "auth-ack", "update", "mfstart", "module",
         "publishshard"]
frames = {}
stale_claim = b""  # as a PING: a frame in which node 4 claims slots


def ident(n):
    return str(n) * 40


def keep(frame):
    global stale_claim
    if frame[12:14] in (b"\0\0", b"\0\1") and frame[40:80] == ident(4).encode() and frame[80] and frame[2251] & 1:
        stale_claim = frame[:12] + b"\0\0" + frame[14:]
    kind = int.from_bytes(frame[12:14], "big")
    name = KINDS[kind & 0x7FFF] + ("-light" if kind & 0x8000 else "")
    # Of heartbeats the one with most gossip is the best example; of the others the first.
    if name not in frames or (kind <= 2 and len(frame) > len(frames[name])):
        frames[name] = frame


def pump(source, sink):
    buffered = b""
    while data := source.recv(65536):
        sink.sendall(data)
        buffered += data
        while len(buffered) >= 14 and len(buffered) >= (length := int.from_bytes(buffered[4:8], "big")):
            keep(buffered[:length])
            buffered = buffered[length:]
    sink.close()


def quietly(*args):
    try:
        pump(*args)
    except OSError:
        for s in args:
            s.close()


def proxy(port, target):
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        near, _ = listener.accept()
        try:
            far = socket.create_connection(("127.0.0.1", target))
        except OSError:
            near.close()
            continue
        for pair in ((near, far), (far, near)):
            threading.Thread(target=quietly, args=pair, daemon=True).start()


def cli(n, *args):
    done = subprocess.run(["redis-cli", "-p", str(BASE + n), *args], capture_output=True, text=True)
    return done.stdout.strip()


def until(what, condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    sys.exit(f"gave up waiting: {what}")


def start(n, home):
    os.makedirs(f"{home}/{n}", exist_ok=True)
    conf = f"{home}/{n}/nodes.conf"
    if not os.path.exists(conf):
        with open(conf, "w") as f:
            f.write(f"{ident(n)} :0@0 myself,master - 0 0 0 connected\nvars currentEpoch 0 lastVoteEpoch 0\n")
    options = ["--port", BASE + n, "--cluster-port", BASE + 100 + n, "--cluster-announce-bus-port", BASE + 200 + n,
               "--cluster-enabled", "yes", "--cluster-node-timeout", 2000, "--dir", f"{home}/{n}", "--save", "",
               "--bind", "127.0.0.1", "--cluster-announce-hostname", f"node-{n}.example",
               "--logfile", "server.log"]
    server = subprocess.Popen([SERVER, *map(str, options)], stdout=subprocess.DEVNULL)
    atexit.register(server.kill)
    until(f"{n} answers", lambda: cli(n, "ping") == "PONG")
    return server


def link_states(n):
    return re.findall(r"(?<!dis)connected", cli(n, "cluster", "nodes"))


def main():
    home = tempfile.mkdtemp()
    for n in range(1, 5):
        threading.Thread(target=proxy, args=(BASE + 200 + n, BASE + 100 + n), daemon=True).start()
    servers = {n: start(n, home) for n in range(1, 5)}
    for n, slots in ((1, (0, 5460)), (2, (5461, 10922)), (3, (10923, 16383))):
        cli(n, "cluster", "set-config-epoch", str(n))
        cli(n, "cluster", "addslotsrange", *map(str, slots))
    for n in (2, 3, 4):
        cli(1, "cluster", "meet", "127.0.0.1", str(BASE + n), str(BASE + 200 + n))
    until("full mesh", lambda: all(len(link_states(n)) == 4 for n in range(1, 5)))
    cli(4, "cluster", "replicate", ident(1))
    until("cluster ok", lambda: all("cluster_state:ok" in cli(n, "cluster", "info") for n in range(1, 5)))
    until("replica", lambda: "master_link_status:up" in cli(4, "info", "replication"))
    cli(2, "publish", "news", "hello")
    cli(1, "spublish", "age", "hi")
    cli(4, "cluster", "failover")
    until("4 is master", lambda: "role:master" in cli(4, "info", "replication"))
    until("1 follows", lambda: "master_link_status:up" in cli(1, "info", "replication"))
    servers[4].kill()
    servers[4].wait()
    until("1 is master", lambda: "role:master" in cli(1, "info", "replication"))
    servers[4] = start(4, home)
    until("4 follows", lambda: "role:slave" in cli(4, "info", "replication"))
    # The old claim once more: somebody must set it right.
    with socket.create_connection(("127.0.0.1", BASE + 102)) as link:
        link.sendall(stale_claim)
        until("update", lambda: "update" in frames)
    os.makedirs(OUT, exist_ok=True)
    for name, frame in frames.items():
        text = re.sub(r"(?:00){9,}", lambda m: f"\n00*{len(m[0]) // 2}\n", frame.hex())
        text = re.sub(r"(?:ff){9,}", lambda m: f"\nff*{len(m[0]) // 2}\n", text)
        lines = [line[i:i + 96] for line in text.split() for i in range(0, len(line), 96)]
        with open(f"{OUT}/{name}.hex", "w") as f:
            f.write("\n".join(lines) + "\n")
        print(name, len(frame))


signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
main()
