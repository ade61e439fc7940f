"""Decodes a payload in one of Snappy's two layouts to standard output, independently of Hydrant's own libraries.

    snappy_reader.py xerial|hadoop FILE

Each payload is read twice: by a published reader of the layout (kafka-python's for xerial, python-snappy's for Hadoop),
and by the strict walk below, which checks every length and decodes the chunks with Google's own Snappy, in pyarrow. (The
published readers decode chunks with Rust's `snap`, as Hydrant does, and overlook a truncated end.) Both must agree.

Exit status: 0 decoded; 1 not a valid payload; 77 a package is missing, see tests/servers/python-venv.
"""

import struct
import sys

try:
    import kafka.codec
    import pyarrow
    import snappy
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)

XERIAL_HEADER = b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)


def u32(data, at):
    if at + 4 > len(data):
        sys.exit(f"the payload ends inside the length at {at}")
    return struct.unpack_from(">I", data, at)[0], at + 4


def chunk(data, at):
    """One length and the raw chunk behind it."""
    length, at = u32(data, at)
    if at + length > len(data):
        sys.exit(f"the payload ends inside the chunk at {at}")
    compressed = data[at : at + length]
    size = shift = 0  # a raw chunk begins with its size before compression, as a varint
    for byte in compressed:
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return pyarrow.Codec("snappy").decompress(compressed, decompressed_size=size).to_pybytes(), at + length


def walk_xerial(data):
    if data[:16] != XERIAL_HEADER:
        sys.exit(f"not a xerial header: {data[:16]!r}")
    at = 16
    while at < len(data):
        part, at = chunk(data, at)
        yield part


def walk_hadoop(data):
    at = 0
    while at < len(data):
        size, at = u32(data, at)
        while size > 0:
            part, at = chunk(data, at)
            size -= len(part)
            yield part
        if size < 0:
            sys.exit(f"the frame that ends at {at} holds {-size} bytes more than it says")


def published_xerial(data):
    # kafka-python takes a stream without any chunk for a raw one.
    return b"" if data == XERIAL_HEADER else kafka.codec.snappy_decode(data)


def published_hadoop(data):
    return snappy.HadoopStreamDecompressor().decompress(data)


READERS = {"xerial": (walk_xerial, published_xerial), "hadoop": (walk_hadoop, published_hadoop)}


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in READERS:
        sys.exit(__doc__)
    walk, published = READERS[sys.argv[1]]
    with open(sys.argv[2], "rb") as file:
        data = file.read()
    content = b"".join(walk(data))
    if published(data) != content:
        sys.exit("the published reader and the strict walk disagree")
    sys.stdout.buffer.write(content)


if __name__ == "__main__":
    main()
