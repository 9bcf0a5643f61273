"""The fault tables of the source, read after the preprocessor: [{variable, name, …}]."""
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROW = re.compile(
    r"const struct fault (\w+)\s*=\s*\{\s*((?:\"(?:[^\"\\]|\\.)*\"\s*)+),\s*"
    r"((?:\"(?:[^\"\\]|\\.)*\"\s*)+),\s*"
    r"(NULL|\(\(void \*\)0\)|(?:\"(?:[^\"\\]|\\.)*\"\s*)+),\s*(\d+),?\s*\}")


def _text(literals):
    parts = re.findall(r'"((?:[^"\\]|\\.)*)"', literals)
    return re.sub(r"\\(.)", r"\1", "".join(parts)) if parts else None


def _expanded(path):
    """Only our own macros matter, so nothing is included."""
    source = path.read_text()
    if not re.search(r"#define[^\n]*\\?\s*\n?\s*const struct fault", source):
        return source
    bare = re.sub(r"(?m)^\s*#\s*include.*$", "", source)
    return subprocess.run(["cc", "-E", "-P", "-"], input=bare, capture_output=True, text=True,
                          check=True).stdout


def all_faults():
    rows = []
    for path in sorted((ROOT / "src").rglob("*.c")):
        for variable, name, text, client, status in ROW.findall(_expanded(path)):
            rows.append({"variable": variable, "name": _text(name), "text": _text(text),
                         "client": _text(client), "status": int(status)})
    return rows


def variables():
    return {row["variable"] for row in all_faults()}
