"""Batches as kafka-python reads them, and as JSON says them."""

import base64

from kafka.record.memory_records import MemoryRecords

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
HEADER_BYTES = 61


class Damage(Exception):
    """Bytes that should be batches and are none."""


def read(data):
    """Yields (position, batch) for every batch of `data`, which holds nothing else."""
    position = 0
    for batch in MemoryRecords(data):
        if batch.magic != 2:
            raise Damage(f"magic {batch.magic} at position {position}")
        if not batch.validate_crc():
            raise Damage(f"wrong checksum at position {position}")
        yield position, batch
        position += batch.size_in_bytes
    if position != len(data):
        raise Damage(f"{len(data) - position} bytes are no batch at position {position}")


def codec(batch):
    """The name of a batch's codec."""
    return CODECS[batch.compression_type]


def describe(batch):
    """A batch with all its records, ready for JSON."""
    return {
        "base_offset": batch.base_offset,
        "last_offset": batch.last_offset,
        "epoch": batch.leader_epoch,
        "codec": codec(batch),
        "base_timestamp": batch.first_timestamp,
        "max_timestamp": batch.max_timestamp,
        "records": [
            describe_record(r.offset, r.timestamp, r.key, r.value, r.headers) for r in batch
        ],
    }


def describe_record(offset, timestamp, key, value, headers):
    """A record, ready for JSON; bytes are base64, and null is null."""
    return {
        "offset": offset,
        "timestamp": timestamp,
        "key": encode(key),
        "value": encode(value),
        "headers": [[name, encode(value)] for name, value in headers],
    }


def encode(data):
    """Bytes as base64."""
    return None if data is None else base64.b64encode(data).decode()
