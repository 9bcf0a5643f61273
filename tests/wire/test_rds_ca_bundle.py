"""`sslrootcert: rds` stands for the file that the node names, and for no other."""

import harness


def config_with_rds(bed, issuer):
    text = harness.config_for(bed, issuer)
    line = f"  sslrootcert: {bed.ca.file}\n"
    assert line in text
    return text.replace(line, "  sslrootcert: rds\n")


def test_rds_is_the_file_that_the_node_names(gateway, bed, issuer):
    one = gateway(config=config_with_rds(bed, issuer), node={"rds_ca_bundle": bed.ca.file})
    assert one.get("/orders/2", one.mint("alice")).status == 200


def test_without_the_file_nothing_is_served(gateway, bed, issuer):
    one = gateway(
        start=False,
        config=config_with_rds(bed, issuer),
        node={"rds_ca_bundle": bed.folder / "no-such-bundle.pem"},
    )
    one.launch()
    assert one.process.wait(60) == 1
    one.process = None
    said = "service shop: sslrootcert rds: the file of trusted certificates cannot be read"
    assert said in one.log_text()
