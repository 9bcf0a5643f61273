"""Our JSON parser beside Python's: the same documents accepted, the same values read.

Python's is made as strict as ours by its own hooks: no NaN, no name twice, no lone surrogate.
The documents are written by hand or by Python's writer from random values, and then broken in
every place by a seeded generator.
"""
import json
import random
import struct
import subprocess
import sys

DOCUMENTS = [
    '{"iss":"https://a.example/","aud":["x","y"],"exp":1516239022.5,"ok":true,"no":false,"n":null}',
    '[0,-0,10,-1.5,2e3,2E+3,2e-3,0.0001,123456789012345678901234567890,-0.0e-0]',
    '"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\ud83d\\ude00"',
    '{"\\u0061":{"b":[[],[{}],{"c":""}]},"":[1 , 2 ,\t3\r\n]}',
    ' [ "caf\u00e9" , "\u20ac" , "\U0001f600" , "\u007f" , "\u2028" ] ',
    'true', 'false', 'null', '""', '0', '-1', '[]', '{}',
    '[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]',
    '[NaN]', '[Infinity]', '[-Infinity]', '{"a":1,"a":1}', '{"a":1,"\\u0061":1}', '\ufeff1',
    '"\\ud800"', '"\\udc00\\ud800"', '"\\ud800\\\\udc00"', '"\\uD83D\\u0041"', '01', '1.', '.1',
    '1e', '+1', '0x1', '1 2', '', ' ', '"\t"', "'a'", '[1,]', '{"a":1,}', '{,}', '[1 2]', '\x0b1',
    '\u00a01', '{"a"}', '{1:1}', '// x\n1', '"\\x41"', '\u0661', '1\u0661', '"a\x00b"', '1\x00',
]
RAW = [b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xe2\x82"',
       b'\xff\xfe1\x00', b'1\x00', b'\x00\x00\x00\x31']
PIECES = [b'"', b'\\', b'\\u', b'\\ud800', b'\\udc00', b'{', b'}', b'[', b']', b',', b':', b'0',
          b'-', b'+', b'.', b'e', b'E', b' ', b'\n', b'\x00', b'\x1f', b'\x7f', b'\x80', b'\xe9',
          b'\xc3\xa9', b'true', b'null', b'NaN', b'1', b'"a":1', b'/', b'\xef\xbb\xbf']


def refuse(what):
    raise ValueError(what)


def no_duplicates(pairs):
    if len(dict(pairs)) != len(pairs):
        refuse("duplicate")
    return dict(pairs)


def python_reads(document):
    """(True, value), or (False, None).  Numbers stay text."""
    try:
        value = json.loads(document.decode("utf-8"), object_pairs_hook=no_duplicates,
                           parse_constant=refuse, parse_int=lambda n: ("number", n),
                           parse_float=lambda n: ("number", n))
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # a lone surrogate fails here
        return True, value
    except ValueError:
        return False, None


def broken(document, rng):
    at = rng.randrange(len(document) + 1)
    kind = rng.randrange(4)
    if kind == 0:
        return document[:at] + rng.choice(PIECES) + document[at:]
    end = min(len(document), at + rng.randrange(1, 4))
    if kind == 1:
        return document[:at] + document[end:]
    if kind == 2:
        return document[:at] + rng.choice(PIECES) + document[end:]
    return document[:at]


def random_text(rng):
    return "".join(chr(rng.choice([rng.randrange(0x20, 0x7f), rng.randrange(0x80),
                                   rng.randrange(0x80, 0xd800), rng.randrange(0xe000, 0x110000)]))
                   for _ in range(rng.randrange(8)))


def random_value(rng, depth=0):
    kind = rng.randrange(8 if depth < 4 else 5)
    if kind == 0:
        return rng.choice([None, True, False])
    if kind == 1:
        return rng.randrange(-10**rng.randrange(1, 30), 10**20)
    if kind == 2:
        return rng.uniform(-1, 1) * 10.0**rng.randrange(-30, 30)
    if kind in (3, 4):
        return random_text(rng)
    count = rng.randrange(4)
    if kind == 5:
        return [random_value(rng, depth + 1) for _ in range(count)]
    return {random_text(rng): random_value(rng, depth + 1) for _ in range(count)}


def random_document(rng):
    return json.dumps(random_value(rng), ensure_ascii=rng.random() < 0.5,
                      indent=rng.choice([None, None, 1, "\t"])).encode("utf-8")


def main():
    rng = random.Random(7159)
    documents = [text.encode("utf-8") for text in DOCUMENTS] + RAW
    seeds = [d for d in documents if d]
    for _ in range(20000):
        document = rng.choice(seeds) if rng.random() < 0.3 else random_document(rng)
        for _ in range(rng.randrange(3)):
            document = broken(document, rng)
        documents.append(document)

    feed = b"".join(struct.pack(">I", len(d)) + d for d in documents)
    run = subprocess.run([sys.argv[1]], input=feed, stdout=subprocess.PIPE, check=True)
    answers = run.stdout.split(b"\n")[:-1]
    assert len(answers) == len(documents), (len(answers), len(documents))
    wrong = accepted = 0
    for document, answer in zip(documents, answers):
        accept, value = python_reads(document)
        accepted += accept
        ours = answer[:1] == b"+"
        if answer == b"-json_too_deep":
            continue  # our limit, not a judgement of the text
        if ours != accept or (ours and python_reads(answer[1:]) != (True, value)):
            print("differ:", document, "we say", answer, "python:", accept, value)
            wrong += 1
    print(f"{len(documents)} documents, {accepted} accepted by Python, {wrong} differences")
    # A corpus that is all good or all bad would compare little.
    return wrong > 0 or not len(documents) * 0.1 < accepted < len(documents) * 0.9


sys.exit(main())
