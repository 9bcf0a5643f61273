"""Fixtures of the wire tests: one PostgreSQL and one issuer a session, gateways as asked."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import harness  # noqa: E402
from bed import shop  # noqa: E402
from bed.postgres import AccessKey, PostgresBed  # noqa: E402
from dev_issuer import DevIssuer  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "threads: runs once more with the TSan build, for what threads share"
    )


@pytest.fixture(scope="session")
def bed():
    """PostgreSQL; keys[0] is long-lived, keys[1] temporary."""
    with PostgresBed(keys=[AccessKey.fresh(), AccessKey.fresh(temporary=True)]) as running:
        shop.set_up(running, harness.binary())
        yield running


@pytest.fixture(scope="session")
def issuer(bed, tmp_path_factory):
    certificate, key = bed.ca.issue("issuer", ["localhost", "127.0.0.1"])
    running = DevIssuer(
        tmp_path_factory.mktemp("issuer"), shop.CLIENTS, str(certificate), str(key)
    ).start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def needs_gateway():
    if not harness.has_command("start"):
        pytest.skip("this sallyport has no start command")


@pytest.fixture
def gateway(bed, issuer, needs_gateway):
    """Makes gateways: gateway(config=…, node={…}, environment={…}) is running and ready; all
    are stopped at the end of the test, and must end cleanly."""
    made = []

    def make(start=True, **options):
        new = harness.Sallyport(bed, issuer, **options)
        made.append(new)
        return new.start() if start else new

    yield make
    errors = []
    for one in made:
        try:
            one.close()
        except AssertionError as error:
            errors.append(str(error))
    assert not errors, "\n".join(errors)


@pytest.fixture(scope="module")
def sallyport(bed, issuer, needs_gateway):
    """One running gateway with the standard configuration, shared by a module's tests."""
    shared = harness.Sallyport(bed, issuer)
    try:
        shared.start()
        yield shared
    finally:
        shared.close()
