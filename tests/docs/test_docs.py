"""What the documents say is what the program does, and what they point at is there."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SALLYPORT", str(ROOT / "build/src/cli/sallyport"))
README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
CODE = re.compile(r"```[\s\S]*?```|`[^`\n]+`|^    \S[^\n]*$", re.M)

sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT / "tests/docs"))
import check_includes  # noqa: E402
import faults  # noqa: E402


def run(*arguments, **options):
    clean = {name: value for name, value in os.environ.items()
             if not name.startswith(("SALLYPORT_", "KONG_", "AWS_"))}
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True,
                          env=clean, check=False, **options)


def commands():
    """name -> summary, as --help says."""
    return dict(re.findall(r"^  (\w+) +(.+)$", run("--help").stdout, re.M))


def block(language, number=0, of=1):
    found = re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)
    assert len(found) == of, f"README has {len(found)} blocks of {language}"
    return found[number]


# -- README -------------------------------------------------------------------------------------


@pytest.fixture(name="configuration")
def written_configuration(tmp_path):
    """Both files of the README; the files that they name are there."""
    (tmp_path / "sallyport.conf").write_text(block("ini"))
    (tmp_path / "sallyport.yaml").write_text(block("yaml", of=2))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
         "-keyout", tmp_path / "tls.key", "-out", tmp_path / "tls.crt"],
        check=True, capture_output=True)
    (tmp_path / "rds-global-bundle.pem").write_text("")
    return tmp_path


def test_the_configuration_of_the_readme_is_valid_without_a_warning(configuration):
    got = run("check", "-c", configuration / "sallyport.conf")
    assert (got.returncode, got.stderr) == (0, "")


def test_the_readmes_other_logins_are_valid(configuration):
    conf, served = configuration / "sallyport.conf", configuration / "sallyport.yaml"
    text = served.read_text()
    roles, secret = block("yaml", 1, of=2).split("  # or, instead of iam_auth and a user:\n")
    iam = "  iam_auth: {region: eu-west-1}\n"
    assert text.count(iam) == 1
    served.write_text(text.replace(iam, roles))
    got = run("check", "-c", conf)
    assert (got.returncode, got.stderr) == (0, "")
    served.write_text(re.sub(r"//app(_ro)?@", "//", text.replace(iam, secret)))
    got = run("check", "-c", conf)
    assert got.returncode == 0 and "error" not in got.stderr, got.stderr
    assert "the secret of AWS was not read" in got.stderr


def test_setup_prints_what_the_readmes_service_needs(configuration):
    conf = configuration / "sallyport.conf"
    sql = run("setup", "shop", "--sql", "-c", conf)
    assert sql.returncode == 0 and sql.stderr == ""
    for word in ("app", "app_ro", "orders_writer", "orders_reader", "rds_iam"):
        assert word in sql.stdout
    iam = run("setup", "shop", "--iam", "-c", conf)
    assert iam.returncode == 0 and "rds-db:connect" in iam.stdout


def test_the_table_of_commands_is_what_help_says():
    table = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", README, re.M))
    assert table == commands() and len(table) > 5


def with_change(text, old, new):
    assert text.count(old) >= 1, old
    return text.replace(old, new, 1)


@pytest.mark.parametrize("file,old,new,said", [
    ("sallyport.yaml", "{region: eu-west-1}", "{profile: x}", "unknown field 'profile'"),
    ("sallyport.yaml", "  preset: okta", "  introspection: x", "unknown field 'introspection'"),
    ("sallyport.yaml", '["/orders/{id}"]', '["~/orders/(?<id>\\\\d+)"]',
     "regular expressions ('~') are not supported yet"),
    ("sallyport.yaml", "postgres://app@shop.cluster-abc", "mysql://app@shop.cluster-abc",
     "postgres://"),
    ("sallyport.conf", "prefix =", "admin_listen = 127.0.0.1:8001\nprefix =",
     "not supported yet"),
])
def test_what_the_readme_calls_not_yet_is_refused_or_warned_of(configuration, file, old, new, said):
    path = configuration / file
    path.write_text(with_change(path.read_text(), old, new))
    got = run("check", "-c", configuration / "sallyport.conf")
    assert said in got.stderr


# -- manual -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_command_explains_itself_and_stands_in_the_manual(command):
    got = run(command, "--help")
    assert got.returncode == 0 and got.stderr == ""
    assert got.stdout.startswith(("usage: sallyport", "sallyport "))
    page = (ROOT / "man/sallyport.1.in").read_text()
    assert re.search(rf'^\.BR? "?{command}\b', page, re.M)


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_option_of_a_command_stands_in_the_manual(command):
    page = (ROOT / "man/sallyport.1.in").read_text().replace("\\-", "-")
    options = set(re.findall(r"--[a-z][a-z-]+", run(command, "--help").stdout))
    known = {"--help", "--conf", "--timeout"}  # said once for all
    assert not {option for option in options - known if option not in page}


# -- audit, architecture ------------------------------------------------------------------------


def test_the_table_of_the_audit_is_the_schemas():
    text = (ROOT / "docs/AUDIT.md").read_text()
    fields = run("audit", "fields").stdout
    assert fields.startswith("| member ") and fields.strip() in text


def test_the_rooms_of_the_architecture_are_those_that_the_check_holds():
    text = (ROOT / "docs/ARCHITECTURE.md").read_text()
    table = re.search(r"<!-- rooms -->\n```\n(.*?)\n```", text, re.S)[1]
    rows = {}
    for line in table.splitlines():
        number, room, *allowed = line.split()
        rows[room] = (int(number), " ".join(allowed))
    assert rows == {room: (n, " ".join(a.split())) for room, (n, a) in check_includes.ROOMS.items()}
    for room in rows:
        assert f"| `{room}` |" in text


# -- what is pointed at -------------------------------------------------------------------------


def names_of(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("document", DOCUMENTS, ids=names_of)
def test_every_relative_link_resolves(document):
    text = document.read_text()
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text)
             if not re.match(r"[a-z]+:", link)]
    missing = [link for link in links
               if not (document.parent / link.partition("#")[0]).exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=names_of)
def test_every_make_target_named_exists(document):
    targets = re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.M)
    code = "\n".join(CODE.findall(document.read_text()))
    named = set(re.findall(r"\bmake ([a-z][\w-]*)", code))
    assert named - set(targets) == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=names_of)
def test_every_file_named_exists(document):
    code = " ".join(CODE.findall(document.read_text()))
    named = re.findall(r"(?<![\w/.-])(?:src|tests|tools|docs|man)/[\w./-]*\w", code)
    # Placeholders are in capitals: tests/unit/ROOM/test_X.c.
    missing = [name for name in named
               if not re.search(r"(^|[/_])[A-Z]+([/.]|$)", name.replace(".md", ""))
               and not (ROOT / name).exists()]
    assert missing == []


def defines(path, name):
    text = (ROOT / path).read_text()
    pattern = rf"^def {name}\(" if path.endswith(".py") else rf"^static void {name}\(void \*\*"
    return re.search(pattern, text, re.M) is not None


def test_every_proof_of_the_threat_model_exists():
    text = (ROOT / "docs/THREAT-MODEL.md").read_text()
    proofs = re.findall(r"`(tests/[\w/.]+)::(\w+)`", text)
    assert len(proofs) > 40
    assert [f"{path}::{name}" for path, name in proofs if not defines(path, name)] == []


def test_every_threat_has_a_guard_and_a_proof():
    text = (ROOT / "docs/THREAT-MODEL.md").read_text()
    rows = re.findall(r"^\| (?!threat|---)(.+) \|$", text, re.M)
    assert len(rows) > 25
    for row in rows:
        cells = row.split(" | ")
        assert len(cells) == 3 and "`tests/" in cells[2], row


def test_every_target_that_make_help_names_exists():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile, re.M))
    helped = set(re.findall(r"make ([a-z][\w-]*)", "\n".join(
        line for line in makefile.splitlines() if line.startswith("\t@echo"))))
    assert helped and helped - targets == set()


# -- errors, trouble ----------------------------------------------------------------------------


def table_rows(path, heading):
    """The cells of each row of the tables that begin with this heading."""
    rows, inside = [], False
    for line in (ROOT / path).read_text().splitlines():
        if not line.startswith("|"):
            inside = False
        elif line.startswith(f"| {heading} |"):
            inside = True
        elif inside and not line.startswith("|---"):
            rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def test_errors_has_every_problem_that_a_caller_may_read_with_its_status_and_detail():
    known = {f["name"]: (str(f["status"]), f["client"])
             for f in faults.all_faults() if f["client"] and f["status"]}
    assert len(known) > 100
    rows = table_rows("docs/ERRORS.md", "code")
    told = {row[0].strip("`"): (row[1], row[2]) for row in rows}
    assert len(told) == len(rows) and all(len(row) == 4 and row[3] for row in rows)
    assert told == known


def test_the_reader_of_fault_tables_misses_none():
    """Each name that the headers promise, or that a file keeps to itself, is in a row."""
    declared = set()
    for header in (ROOT / "src").rglob("*.h"):
        declared |= set(re.findall(r"extern const struct fault (\w+);", header.read_text()))
    found = faults.variables()
    assert len(declared) > 150 and declared - found == set()


def test_errors_has_every_sqlstate_with_its_status():
    text = (ROOT / "src/gateway/problem.c").read_text()
    known = re.findall(r'\{"(\w+)", \{(\d+), ', text)
    told = [(row[0].strip("`"), row[1]) for row in table_rows("docs/ERRORS.md", "sqlstate")]
    assert told == known and len(told) > 20


def literals():
    """Every string of the source, those that stand side by side as one."""
    found = []
    for path in sorted((ROOT / "src").rglob("*.[ch]")):
        for run_of in re.findall(r'(?:"(?:[^"\\\n]|\\.)*"\s*)+', path.read_text()):
            found.append(re.sub(r"\\(.)", r"\1", "".join(
                re.findall(r'"((?:[^"\\\n]|\\.)*)"', run_of))))
    return found


def test_every_message_of_troubleshooting_is_one_of_the_programs():
    rows = table_rows("docs/TROUBLESHOOTING.md", "message")
    assert len(rows) > 30 and all(len(row) == 3 for row in rows)
    known = literals()
    unknown = []
    for message in (row[0].strip("`") for row in rows):
        pieces = [piece.strip() for piece in message.split("…") if len(piece.strip()) > 1]
        assert pieces, message
        pattern = re.compile(".*".join(re.escape(piece) for piece in pieces))
        if not any(pattern.search(text) for text in known):
            unknown.append(message)
    assert unknown == []


# -- systemd ------------------------------------------------------------------------------------


def test_the_unit_is_one_that_systemd_takes(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze")
    text = (ROOT / "share/sallyport.service.in").read_text()
    unit = tmp_path / "sallyport.service"
    unit.write_text(text.replace("@bindir@/sallyport", str(pathlib.Path(PROGRAM).resolve())))
    got = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True,
                         text=True, check=False)
    assert (got.returncode, got.stderr) == (0, "")
    # Of 100; 20 is what systemd itself calls OK.
    got = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20", unit],
                         capture_output=True, text=True, check=False)
    assert got.returncode == 0, got.stdout[-300:]
