"""A Corelog client written from crates/protocol/PROTOCOL.md alone.

    corelog_client.py --server HOST:PORT     runs a scenario against a live server
    corelog_client.py --page PROTOCOL.md     reads the page's worked examples

Either prints one JSON object on stdout; whatever is not as the page says ends it with exit code 1.
"""

import argparse
import itertools
import json
import os
import re
import socket
import struct
import sys
import time
import zlib

import msgpack
import xxhash

HELLO, PING, METADATA = 1, 3, 4
CREATE_TOPIC, DELETE_TOPIC, DESCRIBE_TOPIC = 10, 12, 13
PRODUCE, FETCH, LIST_OFFSETS, TRUNCATE = 20, 21, 22, 23
SEGMENTS, COPY_SEGMENTS, CHAIN_AT = 30, 31, 32

UNKNOWN_TOPIC, TOPIC_CHANGED = 20, 22
OUT_OF_RANGE, INVALID_BATCH, ABORTED = 41, 60, 63

PREFIX = struct.Struct("<IBBHIII")
VERSION = 1
ANSWER = 1
FRAME_BYTES_MAX = 16 * 1024 * 1024

BATCH = struct.Struct(">qiibIhiqqqhii")
HEADER_BYTES = 61
CRC_FROM = 21
CODEC_BITS = 0x07
CONTROL_BIT = 0x20


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, error):
        super().__init__(f"error {error['code']}: {error.get('message', '')}")
        self.code = error["code"]
        self.detail = error.get("detail", {})


class Broken(Exception):
    """Bytes that are not as the page says."""


# Frames


def encode_frame(kind, correlation, head, body=b"", flags=0):
    head = msgpack.packb(head)
    frame_bytes = PREFIX.size - 4 + len(head) + len(body)
    covered = struct.pack("<IBBHII", frame_bytes, VERSION, flags, kind, correlation, len(head))
    crc = zlib.crc32(head, zlib.crc32(covered))
    return covered + struct.pack("<I", crc) + head + body


def decode_frame(take, flags):
    """Reads a frame with `take(count)`: (kind, correlation, head, body)."""
    prefix = take(PREFIX.size)
    frame_bytes, version, found, kind, correlation, head_bytes, crc = PREFIX.unpack(prefix)
    body_bytes = frame_bytes - (PREFIX.size - 4) - head_bytes
    if frame_bytes > FRAME_BYTES_MAX or body_bytes < 0:
        raise Broken(f"a frame of {frame_bytes} bytes with a head of {head_bytes}")
    if version != VERSION or found != flags:
        raise Broken(f"version {version}, flags {found}")
    head = take(head_bytes)
    if zlib.crc32(head, zlib.crc32(prefix[:16])) != crc:
        raise Broken("the checksum of the head is wrong")
    return kind, correlation, msgpack.unpackb(head), take(body_bytes)


def taker(data):
    """`take(count)` over bytes."""
    position = 0

    def take(count):
        nonlocal position
        piece = data[position : position + count]
        if len(piece) != count:
            raise Broken(f"{count} bytes are wanted, {len(piece)} are left")
        position += count
        return piece

    return take


class Connection:
    """One connection, greeted."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.socket.makefile("rb")
        self.correlations = itertools.count(1)
        self.early = {}
        self.last_words = None
        self.server = self.call(HELLO, {"versions": [VERSION], "client": "corelog_client.py"})[0]

    def close(self):
        self.reader.close()
        self.socket.close()

    def send(self, kind, head, body=b""):
        correlation = next(self.correlations)
        self.socket.sendall(encode_frame(kind, correlation, head, body))
        return correlation

    def receive(self, correlation):
        """The answer to a request; those that overtake it are kept for whoever wants them."""
        while correlation not in self.early:
            kind, found, head, body = decode_frame(self.take, ANSWER)
            if kind == 0:
                # What the server took is answered also behind it.
                self.last_words = head["error"]
                continue
            self.early[found] = (head, body)
        head, body = self.early.pop(correlation)
        if "error" in head:
            raise Refused(head["error"])
        return head, body

    def call(self, kind, head, body=b""):
        return self.receive(self.send(kind, head, body))

    def take(self, count):
        try:
            piece = self.reader.read(count)
        except ConnectionResetError:
            piece = b""
        if len(piece) != count:
            raise Refused(self.last_words) if self.last_words else Broken("the server closed the connection")
        return piece


# Batches


def crc32c_table():
    table = []
    for index in range(256):
        for _ in range(8):
            index = (index >> 1) ^ (0x82F63B78 if index & 1 else 0)
        table.append(index)
    return table


CRC32C_TABLE = crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC32C_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def varint(number):
    number = 2 * number if number >= 0 else -2 * number - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(take):
    number = 0
    for shift in range(0, 70, 7):
        byte = take(1)[0]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number // 2 if number % 2 == 0 else -(number + 1) // 2
    raise Broken("a varint of more than ten bytes")


def counted(data):
    return varint(-1) if data is None else varint(len(data)) + data


def read_counted(take):
    count = read_varint(take)
    return None if count == -1 else take(count)


def build_batch(records):
    """An uncompressed batch of (timestamp, key, value, [(name, value)]) records."""
    times = [timestamp for timestamp, _, _, _ in records]
    rows = bytearray()
    for index, (timestamp, key, value, headers) in enumerate(records):
        row = b"\0" + varint(timestamp - times[0]) + varint(index) + counted(key) + counted(value)
        row += varint(len(headers))
        row += b"".join(counted(name.encode()) + counted(value) for name, value in headers)
        rows += varint(len(row)) + row
    count = len(records)
    checked = struct.pack(">hiqqqhii", 0, count - 1, times[0], max(times), -1, -1, -1, count)
    checked += rows
    length = HEADER_BYTES - 12 + len(rows)
    return struct.pack(">qiibI", 0, length, -1, 2, crc32c(checked)) + checked


def split_batches(body):
    """The batches of a body, as (bytes, header fields)."""
    position = 0
    while position < len(body):
        take = taker(body[position:])
        header = take(HEADER_BYTES)
        fields = BATCH.unpack(header)
        base, length, _, magic, crc = fields[:5]
        batch = header + take(12 + length - HEADER_BYTES)
        if magic != 2 or crc32c(batch[CRC_FROM:]) != crc:
            raise Broken(f"the batch at offset {base} is damaged")
        yield batch, fields
        position += len(batch)


def read_batch(batch, fields):
    """The records of a batch as (offset, timestamp, key, value, headers)."""
    base, attributes, base_time, count = fields[0], fields[5], fields[7], fields[12]
    if attributes & CONTROL_BIT:
        return
    if attributes & CODEC_BITS:
        raise Broken("this client reads uncompressed batches only")
    take = taker(batch[HEADER_BYTES:])
    for _ in range(count):
        row = taker(take(read_varint(take)))
        row(1)
        time_delta, offset_delta = read_varint(row), read_varint(row)
        key, value = read_counted(row), read_counted(row)
        headers = [(read_counted(row).decode(), read_counted(row)) for _ in range(read_varint(row))]
        yield base + offset_delta, base_time + time_delta, key, value, headers


# The chain


def history_id(topic_id, partition):
    # The library's digest is the canonical, big-endian form.
    return xxhash.xxh3_128(topic_id + struct.pack("<I", partition)).digest()[::-1]


def chain_seed(history):
    return xxhash.xxh3_64(history).intdigest()


def chain_extend(chain, batch):
    return xxhash.xxh3_64(struct.pack("<Q", chain) + batch[:HEADER_BYTES]).intdigest()


# What one does with it


class Partition:
    """One partition of a topic, over one connection."""

    def __init__(self, connection, name, topic_id, number):
        self.connection = connection
        self.place = {"topic": name, "id": topic_id, "partition": number}
        self.history = history_id(topic_id, number)

    def send_produce(self, records, level="durable", run=0):
        head = {**self.place, "level": level, "run": run}
        return self.connection.send(PRODUCE, head, build_batch(records))

    def produce(self, records, level="durable", run=0):
        return self.connection.receive(self.send_produce(records, level, run))[0]

    def send_fetch(self, offset, **wishes):
        return self.connection.send(FETCH, {**self.place, "offset": offset, **wishes})

    def fetch(self, offset, **wishes):
        return self.connection.receive(self.send_fetch(offset, **wishes))

    def offset(self, at):
        return self.connection.call(LIST_OFFSETS, {**self.place, "at": at})[0]

    def read_all(self, max_bytes):
        """All records from the log start, and the chain over their batches."""
        offset = self.offset("earliest")["offset"]
        chain, records = chain_seed(self.history), []
        while True:
            head, body = self.fetch(offset, max_bytes=max_bytes)
            for batch, fields in split_batches(body):
                chain = chain_extend(chain, batch)
                records += (r for r in read_batch(batch, fields) if r[0] >= offset)
            if head["next"] == offset:
                return records, chain
            offset = head["next"]


def refused(code, call, *args, **kwargs):
    """The detail of the error that the call must end with."""
    try:
        call(*args, **kwargs)
    except Refused as error:
        expect(error.code == code, f"error {code}, not {error}")
        return error.detail
    raise Broken(f"error {code} was expected, not a good answer")


def expect(fact, what):
    if not fact:
        raise Broken(f"expected: {what}")


def scenario(address, topic, partition_count):
    """Everything that a small client does; the facts it found."""
    connection = Connection(address)
    connection.call(PING, {})
    wish = {"name": topic, "partitions": partition_count, "if_not_exists": True}
    created = connection.call(CREATE_TOPIC, wish)[0]
    again = connection.call(CREATE_TOPIC, wish)[0]
    expect(created["created"] and not again["created"], "a topic that is created once")
    told = connection.call(METADATA, {"topics": [topic]})[0]["topics"][0]
    expect(told["id"] == created["id"] == again["id"], "one topic id")
    expect(len(told["partitions"]) == partition_count, f"{partition_count} partitions")

    owner = Connection(told["partitions"][0]["address"] or address)
    partition = Partition(owner, topic, told["id"], 0)
    facts = {
        "software": connection.server.get("software", ""),
        "topic": topic,
        "topic_id": told["id"].hex(),
        **produce_and_read(partition),
        **meet_errors(partition),
    }
    facts["long_poll_ms"] = long_poll(partition, Partition(connection, topic, told["id"], 0))
    facts["segments"] = compare_chain(partition)
    facts["copied"] = copy_one_segment(address, f"{topic}-copied")

    truncate(partition)
    delete_another(connection, f"{topic}-gone")

    state = connection.call(DESCRIBE_TOPIC, {"name": topic})[0]["partitions"][0]
    facts["durable"] = state["durable"]
    expect(state["log_end"] == state["durable"] == partition.offset("latest")["offset"], "one end")
    for each in (owner, connection):
        each.close()
    return facts


def produce_and_read(partition):
    now = int(time.time() * 1000)
    sent = [
        (now, b"key", b"value", [("trace", b"1"), ("empty", None)]),
        (now - 5000, None, b"", []),
        (now + 7, b"", None, [("", b"")]),
        (now, b"k" * 300, bytes(range(256)) * 256, []),
    ]
    # Four requests at once, answered in order; the second holds two records.
    groups = [sent[:1], sent[1:3], sent[3:], [(now + 60_000, None, b"late", [])]]
    levels = ["durable", "durable", "accepted", "durable"]
    open_requests = [partition.send_produce(g, level) for g, level in zip(groups, levels)]
    answers = [partition.connection.receive(request)[0] for request in open_requests]
    expect([a["base"] for a in answers] == [0, 1, 3, 4], "dense offsets")
    expect([a["end"] for a in answers] == [1, 3, 4, 5], "dense ends")
    expect(answers[0]["level"] == "durable", "the level asked for")

    expected = [(offset, *record) for offset, record in enumerate(itertools.chain(*groups))]
    for max_bytes in (1, 1 << 20):
        records, chain = partition.read_all(max_bytes)
        expect(records == expected, "the records that were sent")
    expect(partition.offset("earliest")["offset"] == 0, "a log that begins at 0")
    expect(partition.offset("latest")["offset"] == len(expected), "a log that ends behind them")
    late = partition.offset({"time": now + 50_000})
    expect((late["offset"], late["timestamp"]) == (4, now + 60_000), "the late record by its time")
    never = partition.offset({"time": now + 70_000})
    expect(never["offset"] == len(expected) and never.get("timestamp") is None, "none after it")
    return {"records": len(records), "chain": f"{chain:016x}", "epoch": answers[0]["epoch"]}


def meet_errors(partition):
    end = partition.offset("latest")["offset"]
    valid = refused(OUT_OF_RANGE, partition.fetch, end + 1000)
    expect((valid["log_start"], valid["high_watermark"]) == (0, end), "the valid range")
    stale = Partition(partition.connection, partition.place["topic"], bytes(16), 0)
    refused(TOPIC_CHANGED, stale.fetch, 0)

    # The run rule: a bad batch aborts what follows it, until the run is raised.
    record = [(1_000, None, b"x", [])]
    bad = bytearray(build_batch(record))
    bad[-1] ^= 1
    connection = partition.connection
    first = connection.send(PRODUCE, {**partition.place, "run": 1}, bytes(bad))
    second = partition.send_produce(record, run=1)
    third = partition.send_produce(record, run=2)
    detail = refused(INVALID_BATCH, connection.receive, first)
    expect((detail["batch"], detail["field"]) == (0, "crc"), "the batch and field to blame")
    detail = refused(ABORTED, connection.receive, second)
    expect((detail["run"], detail["cause"]) == (1, INVALID_BATCH), "the run and why it ended")
    answer = connection.receive(third)[0]
    expect(answer["base"] == end, "only the raised run is appended")
    return {"errors": 4}


def long_poll(waiting, producing):
    """How long after the produce's answer the waiting Fetch had its record, in milliseconds."""
    end = waiting.offset("latest")["offset"]
    began = time.monotonic()
    head, body = waiting.fetch(end, max_wait_ms=100)
    expect(time.monotonic() - began >= 0.09 and body == b"", "an empty answer after the wait")
    expect(head["next"] == end, "nothing to go on to")

    request = waiting.send_fetch(end, max_wait_ms=20_000)
    # Another request of the connection overtakes the one that waits.
    waiting.connection.call(PING, {})
    produced = producing.produce([(1_000, None, b"wake", [])], run=9)
    answered = time.monotonic()
    head, body = waiting.connection.receive(request)
    waited_ms = (time.monotonic() - answered) * 1000
    records = [r for batch in split_batches(body) for r in read_batch(*batch)]
    expect(records == [(end, 1_000, None, b"wake", [])], "the record that was waited for")
    expect(head["next"] == produced["end"] == end + 1, "the offset behind it")
    return round(waited_ms, 3)


def compare_chain(partition):
    """The server's chain at the end has to be ours."""
    _, chain = partition.read_all(1 << 20)
    told = partition.connection.call(SEGMENTS, partition.place)[0]
    expect(told["history"] == partition.history, "the history id of a new partition")
    expect(told["active"]["durable_chain"] == chain, "the same chain")
    end = partition.offset("latest")["offset"]
    at_end = partition.connection.call(CHAIN_AT, {**partition.place, "offset": end})[0]
    expect((at_end["offset"], at_end["chain"]) == (end, chain), "the same chain at the end")
    return "equal"


def copy_one_segment(address, name):
    """Fetches one named segment of several as its file's bytes, and checks them by its digest."""
    connection = Connection(address)
    wish = {"name": name, "settings": {"segment_bytes": 1 << 20}}
    topic_id = connection.call(CREATE_TOPIC, wish)[0]["id"]
    partition = Partition(connection, name, topic_id, 0)
    for number in range(12):
        partition.produce([(1_000 + number, None, bytes([number]) * (256 << 10), [])])
    told = sealed_segments(partition, 2)
    named = told["sealed"][1]
    digest = named["digest"]

    # A connection of its own: one that carries files carries nothing else.
    bulk = Connection(address)
    parts = [{"segment": named["base"], "generation": named.get("generation", 0)}]
    wish = {**partition.place, "history": told["history"], "parts": parts}
    request = bulk.send(COPY_SEGMENTS, {**wish, "piece_bytes_max": 300_000})
    store, is_final = bytearray(), False
    while not is_final:
        head, body = bulk.receive(request)
        expect(head["segment"] == named["base"], "the segment that was named, and no other")
        expect(head["position"] == len(store), "pieces that follow each other")
        expect(len(body) == head["bytes"] <= 300_000, "a piece as large as it says")
        store += body
        is_final = head.get("final", False)
    expect(len(store) == digest["bytes"], "all bytes of the segment and no more")

    chain, batches = digest["chain_base"], list(split_batches(bytes(store)))
    for batch, _ in batches:
        chain = chain_extend(chain, batch)
    expect(chain == digest["chain_end"], "the chain that the digest tells")
    expect(len(batches) == digest["batches"], "as many batches as the digest tells")
    offsets = [record[0] for batch in batches for record in read_batch(*batch)]
    first_last = (digest["first"], digest["last"])
    expect((offsets[0], offsets[-1]) == first_last, "the offsets that the digest tells")
    connection.call(DELETE_TOPIC, {"name": name, "id": topic_id})
    for each in (bulk, connection):
        each.close()
    return {"base": named["base"], "bytes": len(store), "batches": len(batches)}


def sealed_segments(partition, count):
    """The Segments answer, once so many are sealed; that happens behind the acknowledgements."""
    deadline = time.monotonic() + 60
    while True:
        told = partition.connection.call(SEGMENTS, partition.place)[0]
        if len(told.get("sealed", [])) >= count:
            return told
        expect(time.monotonic() < deadline, f"{count} sealed segments")
        time.sleep(0.02)


def truncate(partition):
    answer = partition.connection.call(TRUNCATE, {**partition.place, "lowest": 1})[0]
    expect(answer["log_start"] == partition.offset("earliest")["offset"] == 1, "a later log start")
    valid = refused(OUT_OF_RANGE, partition.fetch, 0)
    expect(valid["log_start"] == 1, "the valid range")


def delete_another(connection, name):
    topic_id = connection.call(CREATE_TOPIC, {"name": name})[0]["id"]
    stale = {"name": name, "id": bytes(16)}
    refused(TOPIC_CHANGED, connection.call, DELETE_TOPIC, stale)
    connection.call(DELETE_TOPIC, {"name": name, "id": topic_id})
    refused(UNKNOWN_TOPIC, connection.call, DESCRIBE_TOPIC, {"name": name})


# The page


def examples(page):
    """The page's hex blocks by name, as bytes."""
    blocks = re.findall(r"^```hex (.+?)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    strip = re.compile(r";.*$", re.MULTILINE)
    return {name: bytes.fromhex(strip.sub("", block)) for name, block in blocks}


def read_page(path):
    """Reads and writes the worked examples; they and the page's facts must be ours."""
    with open(path, encoding="utf-8") as file:
        page = file.read()
    found = examples(page)
    for name, frame in found.items():
        flags = 0 if name.endswith(" request") else ANSWER
        kind, correlation, head, body = decode_frame(taker(frame), flags)
        expect(encode_frame(kind, correlation, head, body, flags) == frame, f"{name} as we write it")
    body = decode_frame(taker(found["Produce request"]), 0)[3]
    record = (1_700_000_000_000, b"k", b"hello", [("h", b"v")])
    expect(build_batch([record]) == body, "the batch as we build it")
    stored = decode_frame(taker(found["Fetch answer"]), ANSWER)[3]
    [batch] = split_batches(stored)
    expect(list(read_batch(*batch)) == [(0, *record)], "the record as we read it")
    expect(crc32c(b"123456789") == 0xE3069283, "the check value of CRC-32C")

    facts = dict(re.findall(r"^(.+?) = ([0-9a-f]+)$", page, re.MULTILINE))
    history = history_id(b"\xaa" * 16, 0)
    seed = chain_seed(history)
    expect(facts["history id"] == history.hex(), "the page's history id")
    expect(facts["chain before the first batch"] == f"{seed:016x}", "the page's first chain")
    chain = chain_extend(seed, batch[0])
    expect(facts["chain after the batch"] == f"{chain:016x}", "the page's second chain")
    return {"examples": len(found), "chain": f"{chain:016x}"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", metavar="HOST:PORT")
    parser.add_argument("--page", metavar="FILE")
    parser.add_argument("--topic", default=f"python-{os.getpid()}")
    parser.add_argument("--partitions", type=int, default=2)
    options = parser.parse_args()
    if (options.server is None) == (options.page is None):
        parser.error("either --server or --page")
    try:
        if options.page:
            facts = read_page(options.page)
        else:
            facts = scenario(options.server, options.topic, options.partitions)
    except (Broken, Refused, OSError) as error:
        sys.exit(f"corelog_client.py: {error}")
    json.dump(facts, sys.stdout)


if __name__ == "__main__":
    main()
