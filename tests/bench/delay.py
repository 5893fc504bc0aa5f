"""A path on which every packet takes its time; a program that reuse.py starts in its namespace.

A TUN device has the address NEAR. Each packet that is sent to FAR is held, gets its two addresses
swapped, which changes no checksum, and comes back in: so whoever connects to FAR reaches what
listens on NEAR, with handshake, data and end as late as if that were so far away. A relay of bytes
could not delay a handshake, and netem is a module that many kernels lack. Prints "ready"; the
device goes with this process.
"""

import argparse
import collections
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import time

NEAR, FAR = "192.0.2.1", "192.0.2.2"  # for examples (RFC 5737): nobody's
DEVICE = "far"
MTU = 1500

# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000


def open_device():
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    for words in (["address", "add", f"{NEAR}/30", "dev", DEVICE],
                  ["link", "set", DEVICE, "mtu", str(MTU), "up"]):
        subprocess.run(["ip", *words], check=True)
    return tun


def packets_of(tun):
    """Those that are there now."""
    while True:
        try:
            yield os.read(tun, MTU)
        except BlockingIOError:
            return


def turned(packet):
    """The packet on its way back in."""
    return packet[:12] + packet[16:20] + packet[12:16] + packet[20:]


def carry(tun, delay_s):
    far = socket.inet_aton(FAR)
    held = collections.deque()  # (when due, packet): one delay for all, so in order
    while True:
        wait_s = max(0.0, held[0][0] - time.monotonic()) if held else None
        select.select([tun], [], [], wait_s)
        for packet in packets_of(tun):
            if packet[0] >> 4 == 4 and packet[16:20] == far:
                held.append((time.monotonic() + delay_s, turned(packet)))
        while held and held[0][0] <= time.monotonic():
            os.write(tun, held.popleft()[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--ms", type=float, required=True, help="each way")
    options = parser.parse_args()
    tun = open_device()
    print("ready", flush=True)
    carry(tun, options.ms / 1000)


if __name__ == "__main__":
    sys.exit(main())
