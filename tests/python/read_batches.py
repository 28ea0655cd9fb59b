"""Prints every batch of a file with all its records, as kafka-python reads them.

    read_batches.py FILE

One JSON array on stdout; a wrong checksum or bytes that are no batch end it with exit code 1.
"""

import json
import sys

import batches


def main():
    with open(sys.argv[1], "rb") as file:
        data = file.read()
    try:
        found = [batches.describe(batch) for _, batch in batches.read(data)]
    except batches.Damage as damage:
        sys.exit(f"{sys.argv[1]}: {damage}")
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
