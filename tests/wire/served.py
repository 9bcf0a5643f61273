"""Configurations written by a test: services, routes and roles as dicts, sent as JSON, which
YAML takes as it is."""

import json


def route(name, sql, path=None, method="GET", parameters=None, **statement):
    """A route with its statement; read-only unless it says otherwise."""
    methods = [method] if isinstance(method, str) else method
    body = {"sql": sql, "read_only": methods == ["GET"], **statement}
    if parameters:
        body["parameters"] = parameters
    return {"name": name, "methods": methods, "paths": [path or "/" + name], "statement": body}


def service(bed, routes, name="shop", user="app", **more):
    """A service of the bed's database, by IAM unless it has a password."""
    made = {
        "name": name,
        "url": f"postgres://{user}@127.0.0.1:{bed.port}/{bed.database}",
        "sslmode": "verify-full",
        "sslrootcert": str(bed.ca.file),
        "claims": ["sub", "role", "tenant_id"],
        "routes": routes,
    }
    if "password" not in more:
        made["iam_auth"] = {"region": bed.region, "hostname": bed.hostname}
    made.update(more)
    return made


def role(name, group, database_role, routes=("*",), priority=0, services=("shop",)):
    return {
        "name": name,
        "priority": priority,
        "when": {"issuer": "dev", "groups": [group]},
        "services": list(services),
        "database_role": database_role,
        "allow": [{"routes": list(routes)}],
    }


READER = role("orders-reader", "orders-readers", "orders_reader", priority=10)
WRITER = role("orders-writer", "orders-writers", "orders_writer", priority=20)


def config(bed, issuer, services, roles=(WRITER, READER), ca=None):
    """sallyport.yaml's text; `ca` signed the issuer's certificate, the bed's by default."""
    entities = {
        "_format_version": "3.0",
        "issuers": [
            {
                "name": "dev",
                "issuer": issuer.issuer,
                "ca_file": str((ca or bed.ca).file),
                "audience": ["api://orders"],
            }
        ],
        "services": services,
        "roles": list(roles),
    }
    return json.dumps(entities, ensure_ascii=False)


def backends(bed, user="app"):
    """What pg_stat_activity shows of the login: [{pid, application_name, state, query}]."""
    text = bed.superuser_sql(
        "select coalesce(json_agg(json_build_object('pid', pid, 'application_name',"
        " application_name, 'state', state, 'query', query)), '[]') from pg_stat_activity"
        f" where usename = '{user}'"
    )
    return json.loads(text)
