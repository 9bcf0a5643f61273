#!/usr/bin/python3
"""A configuration of many routes: what it costs to make it ready, and those who call meanwhile.

    routes.py [--routes N] [--roles N] [--seconds N] [--clients N] [--write FILE]

--write only writes such a configuration.
"""

import argparse
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

SERVICES = 10
NAMES = {
    "issuer": "https://localhost/",
    "ca": "/etc/ssl/certs/ca-certificates.crt",
    "port": 5432,
    "region": "eu-west-1",
    "hostname": "bench.cluster-abc.eu-west-1.rds.amazonaws.com",
    "pool": 8,
}
HEAD = (HERE / "sallyport.yaml.in").read_text()


def route(service, n, mark=""):
    """One of many: three parameters, a statement of some 200 bytes, no two alike."""
    return f"""\
  - name: s{service}-thing-{n}
    methods: [GET]
    paths: ["/s{service}/things-{n}/{{id}}"]
    statement:
      sql: |
        select t.id, t.name, t.total{mark}, o.placed_at -- {n}
        from sales.things_{n} t join sales.orders o on o.thing = t.id and o.tenant = t.tenant
        where t.id = :id and t.tenant = :tenant and o.placed_at > now() - :days * interval '1 day'
        order by o.placed_at desc limit 100
      parameters:
        id: {{type: bigint, from: path}}
        tenant: {{type: text, from: claim.tenant_id}}
        days: {{type: integer, from: query, default: "7"}}
      result: many
      read_only: true
"""


def service(index, count, changed):
    text = f"""\
- name: s{index}
  url: postgres://app@127.0.0.1:@port@/bench
  sslmode: verify-full
  sslrootcert: @ca@
  iam_auth: {{region: @region@, hostname: @hostname@}}
  search_path: [public]
  pool: {{max_connections: 2}}
  routes:
"""
    return text + "".join(
        route(index, n, " + 0" if (index, n) in changed else "") for n in range(count)
    )


def role(n):
    return f"""\
- name: role-{n}
  priority: {n % 3}
  when: {{issuer: dev, groups: [group-{n}]}}
  services: [s{n % SERVICES}]
  database_role: accounts_reader
  allow: [{{routes: [s{n % SERVICES}-thing-{n}, "*"]}}]
"""


def template(routes, roles, changed=()):
    """sallyport.yaml.in with so many routes more, which nobody calls, and roles; of those
    `changed`, (service, number), the statement is another."""
    head, roles_at, tail = HEAD.partition("\nroles:\n")
    services = "".join(service(i, routes // SERVICES, set(changed)) for i in range(SERVICES))
    return head + services + roles_at + tail + "".join(role(n) for n in range(roles))


def fill(text, **names):
    for name, value in names.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--routes", type=int, default=10000)
    parser.add_argument("--roles", type=int, default=20)
    parser.add_argument("--write", type=pathlib.Path)
    options = parser.parse_args()
    text = fill(template(options.routes, options.roles), **NAMES)
    options.write.write_text(text)


if __name__ == "__main__":
    main()
