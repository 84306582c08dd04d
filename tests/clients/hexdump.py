"""Bytes from a dump as `hexdump -C` prints it, and the dump of these bytes.

    hexdump.py DUMP FILE    read the hexadecimal digits of DUMP, write the bytes to FILE,
                            print how they look
"""
import sys


def main():
    data = bytearray()
    with open(sys.argv[1], encoding="ascii") as dump:
        for line in dump:
            data += bytes.fromhex(line.partition("|")[0].partition(" ")[2])
    with open(sys.argv[2], "xb") as file:
        file.write(data)
    for at in range(0, len(data), 16):
        part = data[at : at + 16]
        left, right = part[:8].hex(" "), part[8:].hex(" ")
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        print(f"{at:08x}  {left:23}  {right:23}  |{text}|")
    print(f"{len(data):08x}")


main()
