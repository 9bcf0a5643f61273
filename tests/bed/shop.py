"""The shop that the sandbox and the wire tests serve: its configuration and its database."""

import json
import pathlib
import re
import subprocess

from bed.postgres import BedError

HERE = pathlib.Path(__file__).resolve().parent
SANDBOX = HERE.parents[1] / "tools/sandbox"

# Callers: alice reads, bob writes, mallory may nothing.
CLIENTS = json.loads((SANDBOX / "clients.json").read_text())
CONFIG = (SANDBOX / "sallyport.yaml.in").read_text()


def fill(template, bed, issuer, ca=None):
    """The template with its @names@ filled in for this PostgreSQL and issuer's URL."""
    names = {
        "issuer": issuer,
        "ca": ca or bed.ca.file,
        "port": bed.port,
        "region": bed.region,
        "hostname": bed.hostname,
    }
    return re.sub(r"@(\w+)@", lambda name: str(names[name[1]]), template)


def set_up(bed, program):
    """Makes the login and the roles by what the program's own `setup shop --sql` prints for an
    operator, then the tables and what the operator grants.  Returns the SQL that it printed."""
    served = bed.folder / "setup.yaml"
    served.write_text(fill(CONFIG, bed, "https://localhost"))
    printed = subprocess.run(
        [str(program), "setup", "shop", "--sql", "--config", str(served)],
        capture_output=True,
        text=True,
    )
    if printed.returncode != 0:
        raise BedError(f"sallyport setup shop --sql: {printed.stderr.strip()}")
    bed.superuser_script(printed.stdout)
    bed.superuser_file(HERE / "shop.sql")
    bed.superuser_file(HERE / "grants.sql")
    return printed.stdout
