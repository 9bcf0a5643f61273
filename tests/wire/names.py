"""Host names whose address a test changes, for processes that it starts: by libnss-wrapper, which
answers getaddrinfo from a file instead of /etc/hosts and DNS."""

import os
import pathlib
import re
import subprocess

import harness

LIBRARY = "libnss_wrapper.so"


def _sanitizer(program):
    """The sanitizer's library has to come before any other."""
    listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True).stdout
    found = re.search(r"=> (\S*/lib[at]san\.so\.\d+)", listed)
    return [found[1]] if found else []


class Names:
    def __init__(self, folder, **addresses):
        self.file = pathlib.Path(folder) / "hosts"
        self.addresses = {"localhost": "127.0.0.1"}
        self.seconds = 1_000_000_000
        self.move(addresses)

    def move(self, addresses):
        """{name: address, or a list of them}; the others stay."""
        self.addresses |= addresses
        lines = [
            f"{address} {name}\n"
            for name, all_of_it in self.addresses.items()
            for address in ([all_of_it] if isinstance(all_of_it, str) else all_of_it)
        ]
        new = self.file.with_suffix(".new")
        new.write_text("".join(lines))
        # The library reads it anew when its time, in whole seconds, is another.
        self.seconds += 1
        os.utime(new, (self.seconds, self.seconds))
        new.rename(self.file)

    def environment(self):
        return {
            "LD_PRELOAD": " ".join([*_sanitizer(harness.binary()), LIBRARY]),
            "NSS_WRAPPER_HOSTS": str(self.file),
            "NSS_WRAPPER_DISABLE_DEEPBIND": "1",
            "TSAN_OPTIONS": harness.TSAN_OPTIONS,
        }
