#!/usr/bin/python3
"""Puts the schema's field table, as `sallyport config schema` prints it, into a manual page."""
import subprocess
import sys

MARK = '.\\" @FIELDS@\n'


def main(program, which, template, version, out):
    table = subprocess.run([program, 'config', 'schema', which], check=True, capture_output=True,
                           text=True).stdout
    with open(template, encoding='utf-8') as page:
        text = page.read()
    if text.count(MARK) != 1 or not table.startswith('.'):
        sys.exit(f'{template}: no single place for the field table')
    with open(out, 'w', encoding='utf-8') as page:
        page.write(text.replace(MARK, table).replace('@VERSION@', version))


main(*sys.argv[1:])
