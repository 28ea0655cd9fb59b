"""Decodes whole stores with kafka-python, in the order given: the stores of one log.

    decode_store.py [--values FILE] STORE...

Checks every checksum, decodes every record, and checks that offsets are dense: each batch begins
where the one before ended (across stores too), each record follows the one before. A last store
that is still active may have zeros behind its last batch. Prints one JSON object; what is wrong
ends it with exit code 1. `--values` also writes the value of every record, each with a newline.
"""

import argparse
import collections
import json
import struct
import sys

import batches


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--values", type=argparse.FileType("wb"), metavar="FILE")
    parser.add_argument("stores", nargs="+", metavar="STORE")
    arguments = parser.parse_args()
    log = Log(arguments.values)
    for index, path in enumerate(arguments.stores):
        with open(path, "rb") as file:
            data = file.read()
        try:
            log.add(data, may_be_active=index + 1 == len(arguments.stores))
        except batches.Damage as damage:
            sys.exit(f"{path}: {damage}")
    json.dump(log.summary(), sys.stdout)


class Log:
    """What was found so far."""

    def __init__(self, values):
        self.values = values
        self.base_offset = None
        self.next_offset = None
        self.counts = collections.Counter()
        self.codecs = collections.Counter()

    def add(self, data, may_be_active):
        end = end_of_batches(data)
        if any(data[end:]):
            raise batches.Damage(f"what begins at position {end} is no batch")
        if end < len(data) and not may_be_active:
            raise batches.Damage(f"zeros follow position {end}, and another store follows them")
        for position, batch in batches.read(data[:end]):
            self.add_batch(position, batch)
        self.counts["stores"] += 1
        self.counts["bytes"] += end
        self.counts["zeros"] += len(data) - end

    def add_batch(self, position, batch):
        if self.next_offset is None:
            self.base_offset = self.next_offset = batch.base_offset
        if batch.base_offset != self.next_offset:
            expected = self.next_offset
            raise batches.Damage(
                f"batch at position {position} begins at offset {batch.base_offset}, not {expected}"
            )
        after = batch.next_offset
        self.codecs[batches.codec(batch)] += 1
        for record in batch:
            if record.offset != self.next_offset:
                raise batches.Damage(
                    f"record of the batch at position {position} has offset {record.offset}, "
                    f"not {self.next_offset}"
                )
            self.next_offset += 1
            if self.values is not None:
                self.values.write((record.value or b"") + b"\n")
        if self.next_offset != after:
            raise batches.Damage(f"batch at position {position} holds fewer records than offsets")
        self.counts["batches"] += 1

    def summary(self):
        base, following = self.base_offset or 0, self.next_offset or 0
        return {
            "base_offset": base,
            "next_offset": following,
            "records": following - base,
            "batches": self.counts["batches"],
            "stores": self.counts["stores"],
            "bytes": self.counts["bytes"],
            "zeros": self.counts["zeros"],
            "codecs": dict(self.codecs),
        }


def end_of_batches(data):
    """Where, by the length fields, the last batch ends. No batch has a length of zero."""
    position = 0
    while position + batches.HEADER_BYTES <= len(data):
        (length,) = struct.unpack_from(">i", data, position + 8)
        end = position + 12 + length
        if length < batches.HEADER_BYTES - 12 or end > len(data):
            break
        position = end
    return position


if __name__ == "__main__":
    main()
