"""The commands that need AWS credentials, run with an environment of their own."""

import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SALLYPORT", str(ROOT / "build/src/cli/sallyport"))


def run(command, environment, *arguments):
    env = {
        "HOME": "/nonexistent",
        "PATH": "/usr/bin:/bin",
        "ASAN_OPTIONS": "detect_leaks=1:exitcode=99",
        "UBSAN_OPTIONS": "halt_on_error=1:exitcode=99",
        "AWS_EC2_METADATA_DISABLED": "true",
        **environment,
    }
    done = subprocess.run(
        [PROGRAM, command, *arguments], env=env, capture_output=True, text=True, timeout=60,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return done


class Whoami:
    """The command's answer, by its fields."""

    def __init__(self, environment, *arguments):
        done = run("whoami", environment, *arguments)
        self.good = done.returncode == 0
        self.text, self.error = done.stdout, done.stderr
        self.fields = dict(re.findall(r"^(\w+): +(.*)$", done.stdout, re.M))

    def __getitem__(self, name):
        return self.fields[name]
