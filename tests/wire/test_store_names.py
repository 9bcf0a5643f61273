"""Files and the configuration in PostgreSQL: names that move from one row to another."""

import pytest
from stored import logins, store  # noqa: F401 (fixtures)
from test_store_config import again, diff_of, small, tables  # noqa: F401 (fixtures)


@pytest.mark.parametrize("anew", [False, True], ids=["swapped", "made anew"])
def test_what_belongs_to_a_name_follows_it(small, anew):  # noqa: F811
    """Two services swap their names, or each is made anew: routes and plugins stay where the file
    has them."""
    def with_other(document):
        shop = document["services"][0]
        shop["plugins"] = [{"name": "request-termination", "config": {"status_code": 503}}]
        document["services"].append(shop | {
            "name": "other", "url": "postgres://app@other.example.com/other", "routes": [],
            "plugins": [{"name": "request-termination", "config": {"status_code": 403}}]})

    again(small, with_other)
    ids = dict(line.split("|") for line in small.sql(
        "select name, id from sallyport_services").splitlines())

    def swap(document):
        with_other(document)
        shop, other = document["services"]
        shop["id"], other["id"] = ids["other"], ids["shop"]
        if anew:
            shop["id"], other["id"] = (i[:-4] + "abcd" for i in (shop["id"], other["id"]))

    again(small, swap)
    where = ("select s.name, s.definition ->> 'url' from sallyport_routes r"
             " join sallyport_services s on s.id = r.service_id")
    assert set(small.sql(where).splitlines()) == {"shop|postgres://app@shop.example.com/shop"}
    assert small.sql("select s.name, p.definition -> 'config' ->> 'status_code'"
                     " from sallyport_plugins p join sallyport_services s on s.id = p.service_id"
                     " order by 1").splitlines() == ["other|403", "shop|503"]
    assert diff_of(small) == ""


def test_a_row_that_an_id_takes_is_not_taken_by_its_old_name_as_well(small):  # noqa: F811
    """The service moves on to another name, and a new one takes its old one."""
    kept = "0f8fad5b-d9cb-469f-a165-70867728950e"
    again(small, lambda document: document["services"][0].update(id=kept))

    def follow(document):
        shop = document["services"][0]
        document["services"].append({"name": "moved", "id": kept, "url": shop["url"],
                                     "password": shop["password"]})

    assert "~ service moved (was shop): name, sslrootcert" in again(small, follow)
    assert small.sql(f"select name, id = '{kept}' from sallyport_services order by 1"
                     ).splitlines() == ["moved|t", "shop|f"]
    assert small.sql("select s.name from sallyport_routes r join sallyport_services s"
                     " on s.id = r.service_id").splitlines() == ["shop", "shop"]
    assert diff_of(small) == ""
