"""A service's `read` part: where read-only statements go."""

import served

WHO = served.route("who", "select session_user as login", result="one")
WRITES = served.route("writer", "select session_user as login", method="POST", result="one")


def test_reads_go_to_the_read_endpoint_and_writes_do_not(gateway, bed, issuer):
    bed.superuser_script("create role app_ro login noinherit; grant rds_iam to app_ro;"
                         "grant orders_reader, orders_writer to app_ro;")
    read = {"url": f"postgres://app_ro@127.0.0.1:{bed.port}/{bed.database}",
            "iam_auth": {"region": bed.region, "hostname": bed.hostname}}
    service = served.service(bed, [WHO, WRITES], read=read)
    try:
        one = gateway(config=served.config(bed, issuer, [service]))
        token = one.mint("bob")
        assert one.get("/who", token).json["login"] == "app_ro"
        assert one.post("/writer", token).json["login"] == "app"
        one.stop()
    finally:
        bed.superuser_sql("drop role app_ro")
