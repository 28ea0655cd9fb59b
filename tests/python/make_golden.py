"""Writes the golden batch files with kafka-python's own record builder.

    make_golden.py DIR

`expected.json` holds the records as they went in, `CODEC.bin` the same batches with each codec,
`transactional.bin` a batch that a server refuses and a reader reads. Run once: golden files are
never made again without a new version of the format.
"""

import json
import pathlib
import random
import struct
import sys

import batches
from kafka.record.default_records import DefaultRecordBatchBuilder

EPOCH = 7
BASE = 1_000_000
TIME = 1_700_000_000_000


def main():
    folder = pathlib.Path(sys.argv[1])
    expected, offset = [], BASE
    for records in golden():
        expected.append(describe(offset, records))
        offset += len(records)
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    for number, name in enumerate(batches.CODECS):
        data, offset = b"", BASE
        for records in golden():
            data += build(offset, records, number)
            offset += len(records)
        (folder / f"{name}.bin").write_bytes(data)
    data = build(BASE, corners(), 0, is_transactional=True, producer_id=9, producer_epoch=3,
                 base_sequence=40)
    (folder / "transactional.bin").write_bytes(data)


def golden():
    """The batches: lists of (timestamp, key, value, headers)."""
    return [corners(), many(), large()]


def corners():
    """Everything a record can have or lack; times go back and forth."""
    everything = bytes(range(256))
    return [
        (TIME + 500, None, None, []),
        (TIME, b"", b"", []),
        (TIME + 1_000, b"key", b"value", [("trace", b"abc"), ("trace", b""), ("empty", None)]),
        (TIME - 86_400_000, everything, everything * 3, [("", b"\x00"), ("größe", everything)]),
        (TIME + 7, None, b"line with a return at its end\r", []),
        (TIME + 500, b"only a key", None, []),
    ]


def many():
    """More records than one byte counts, as log lines are."""
    return [
        (TIME + 2_000 + 3 * i, str(i % 7).encode(), b"INFO request %d served in 12 ms" % i, [])
        for i in range(300)
    ]


def large():
    """A value of several blocks for every codec that has blocks."""
    rng = random.Random(1)
    words = [rng.randbytes(rng.randrange(1, 12)) for _ in range(50)]
    value = b" ".join(rng.choice(words) for _ in range(14_000))
    return [(TIME + 9_000, b"large", value, [])]


def build(offset, records, codec, **producer):
    """A batch as it stands in a store: base offset and epoch filled in."""
    settings = {"is_transactional": False, "producer_id": -1, "producer_epoch": -1,
                "base_sequence": -1, **producer}
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=codec, batch_size=1 << 24, **settings)
    for index, (timestamp, key, value, headers) in enumerate(records):
        assert builder.append(index, timestamp, key, value, headers) is not None
    batch = bytearray(builder.build())
    struct.pack_into(">q", batch, 0, offset)
    struct.pack_into(">i", batch, 12, EPOCH)
    return bytes(batch)


def describe(offset, records):
    """What a reader must find, the codec apart."""
    return {
        "base_offset": offset,
        "last_offset": offset + len(records) - 1,
        "epoch": EPOCH,
        "base_timestamp": records[0][0],
        "max_timestamp": max(record[0] for record in records),
        "records": [
            batches.describe_record(offset + index, *record)
            for index, record in enumerate(records)
        ],
    }


if __name__ == "__main__":
    main()
