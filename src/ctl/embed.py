#!/usr/bin/env python3
"""Puts dashboard.html into a C file: embed.py IN OUT. The page's own script and style, and no
others, are allowed by their hashes."""
import base64
import hashlib
import re
import sys


def hashes(page, tag):
    parts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    return " ".join("'sha256-" + base64.b64encode(hashlib.sha256(p.encode()).digest()).decode() + "'"
                    for p in parts)


def main(source, target):
    page = open(source, encoding="utf-8").read()
    policy = (f"default-src 'none'; script-src {hashes(page, 'script')}; "
              f"style-src {hashes(page, 'style')}; connect-src 'self'; base-uri 'none'; "
              "form-action 'none'; frame-ancestors 'none'")
    data = page.encode()
    rows = "\n".join("    " + "".join(f"{byte - 256 * (byte > 127)}," for byte in data[i:i + 20])
                     for i in range(0, len(data), 20))
    with open(target, "w", encoding="ascii") as out:
        out.write('/* Made by embed.py. */\n#include "ctl/dashboard.h"\n\n'
                  f"const char dashboard_page[] = {{\n{rows}\n}};\n"
                  f"const size_t dashboard_bytes = {len(data)};\n"
                  'const char dashboard_fields[] =\n'
                  f'    "Content-Security-Policy: {policy}\\r\\n"\n'
                  '    "Referrer-Policy: no-referrer\\r\\n";\n')


main(*sys.argv[1:])
