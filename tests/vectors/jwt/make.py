#!/usr/bin/python3
"""Makes the JWT vectors: keys.json, single.json, cases.json, and the fuzz target's fixed keys and
tokens.

The oracle is python3-cryptography for the signatures and python3-jwt for the claims: every positive
token is also verified with python3-jwt before it is written.  Each run makes new keys; the output
is committed, so the tests do not depend on a run.
"""
import base64
import hashlib
import hmac
import json
import os

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

HERE = os.path.dirname(os.path.abspath(__file__))
FUZZ = os.path.join(HERE, "..", "..", "fuzz")
NOW = 1800000000

GENERIC = "https://issuer.example/generic"
COGNITO = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Example"
OKTA = "https://example.okta.com/oauth2/default"
ENTRA = "https://login.microsoftonline.com/0f5c7ea1-0000-4000-8000-000000000001/v2.0"
STRICT = "https://issuer.example/strict"
UNFETCHED = "https://issuer.example/unfetched"
REALM = "https://issuer.example/realms/shop"
SINGLE = "https://issuer.example/single"
CLIENTS = "https://issuer.example/clients"

HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
CURVES = {"ES256": (ec.SECP256R1(), "P-256", 32), "ES384": (ec.SECP384R1(), "P-384", 48),
          "ES512": (ec.SECP521R1(), "P-521", 66)}


def b64(data):
    if isinstance(data, str):
        data = data.encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(n, length=None):
    return b64(n.to_bytes(length or (n.bit_length() + 7) // 8, "big"))


def rsa_jwk(key, **more):
    n = key.public_key().public_numbers()
    return {"kty": "RSA", "n": unsigned(n.n), "e": unsigned(n.e), **more}


def ec_jwk(key, which, **more):
    _, crv, size = CURVES[which]
    n = key.public_key().public_numbers()
    return {"kty": "EC", "crv": crv, "x": unsigned(n.x, size), "y": unsigned(n.y, size), **more}


def ed_jwk(key, **more):
    raw = key.public_key().public_bytes(serialization.Encoding.Raw,
                                        serialization.PublicFormat.Raw)
    return {"kty": "OKP", "crv": "Ed25519", "x": b64(raw), **more}


def sign(key, alg, text):
    text = text.encode()
    if alg == "EdDSA":
        return key.sign(text)
    h = HASHES[alg[2:]]
    if alg.startswith("RS"):
        return key.sign(text, padding.PKCS1v15(), h)
    if alg.startswith("PS"):
        return key.sign(text, padding.PSS(padding.MGF1(h), h.digest_size), h)
    size = CURVES[alg][2]
    r, s = decode_dss_signature(key.sign(text, ec.ECDSA(h)))
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


rsa_key = rsa.generate_private_key(65537, 2048)
rsa_bound = rsa.generate_private_key(65537, 3072)
rsa_other = rsa.generate_private_key(65537, 2048)
ec_keys = {alg: ec.generate_private_key(c[0]) for alg, c in CURVES.items()}
ed_key = ed25519.Ed25519PrivateKey.generate()
single_key = ec.generate_private_key(ec.SECP256R1())

KEY = {"RS": ("rsa-1", rsa_key), "PS": ("rsa-1", rsa_key), "Ed": ("ed-1", ed_key)}


def key_for(alg):
    if alg.startswith("ES"):
        return "ec-" + alg[2:], ec_keys[alg]
    return KEY[alg[:2]]


KEYS = {"keys": [
    rsa_jwk(rsa_key, kid="rsa-1", use="sig"),
    rsa_jwk(rsa_bound, kid="rsa-bound", alg="RS256", key_ops=["verify"]),
    ec_jwk(ec_keys["ES256"], "ES256", kid="ec-256", alg="ES256"),
    ec_jwk(ec_keys["ES384"], "ES384", kid="ec-384"),
    ec_jwk(ec_keys["ES512"], "ES512", kid="ec-512"),
    ed_jwk(ed_key, kid="ed-1", alg="EdDSA", use="sig"),
    # What a key set may hold beside the keys that can verify:
    {"kty": "oct", "k": b64(b"0123456789abcdef0123456789abcdef"), "kid": "secret", "alg": "HS256"},
    rsa_jwk(rsa_other, kid="for-encryption", use="enc", alg="RSA-OAEP"),
    rsa_jwk(rsa.generate_private_key(65537, 1024), kid="weak"),
    {"kty": "PQC", "kid": "unknown-kind"},
    {**ec_jwk(ec_keys["ES256"], "ES256", kid="off-curve"), "y": b64(b"\1" * 32)},
    {"kty": "OKP", "crv": "X25519", "x": b64(b"\1" * 32), "kid": "x25519"},
]}
SINGLE_KEYS = {"keys": [ec_jwk(single_key, "ES256")]}


def base(**change):
    claims = {"iss": GENERIC, "sub": "alice", "aud": "api://orders", "exp": NOW + 600,
              "iat": NOW - 10, "jti": "t-1"}
    claims.update(change)
    return {k: v for k, v in claims.items() if v is not None}


def compact(header, payload, key=None, alg=None):
    """header and payload: objects, or texts as they shall stand."""
    h = header if isinstance(header, str) else json.dumps(header)
    p = payload if isinstance(payload, str) else json.dumps(payload)
    text = b64(h) + "." + b64(p)
    return text + "." + (b64(sign(key, alg, text)) if key is not None else "")


def token(payload, alg="RS256", **header):
    kid, key = key_for(alg)
    h = {"alg": alg, "kid": kid, "typ": "JWT", **header}
    return compact({k: v for k, v in h.items() if v is not None}, payload, key, alg)


CASES = []


def bad(name, text, fault):
    CASES.append({"name": name, "token": text, "fault": "identity_" + fault})


def good(name, text, **want):
    CASES.append({"name": name, "token": text, "fault": "ok", "want": want})


def positives():
    for alg in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
                "EdDSA"]:
        kid, key = key_for(alg)
        text = token(base(sub=alg), alg)
        read = jwt.decode(text, key.public_key(), algorithms=[alg], audience="api://orders",
                          options={"verify_exp": False, "verify_iat": False})
        assert read["sub"] == alg
        good("alg " + alg, text, subject=alg, kid=kid, expires=NOW + 600)
        # And the other way: python3-jwt signs.
        text = jwt.encode(base(sub="by pyjwt"), key, algorithm=alg, headers={"kid": kid})
        good("signed by python3-jwt with " + alg, text, subject="by pyjwt", kid=kid)
    good("a key with its own alg",
         compact({"alg": "RS256", "kid": "rsa-bound"}, base(), rsa_bound, "RS256"),
         kid="rsa-bound")
    for typ in ["at+jwt", "application/at+jwt", "AT+JWT", "application/JWT", "jwt", None]:
        good("typ %s" % typ, token(base(), typ=typ), subject="alice")
    good("x5c and x5t are not read", token(base(), x5c=["MIIB"], x5t="abc"), subject="alice")
    good("aud among others", token(base(aud=["other", "api://orders"])), subject="alice")
    good("exp within the leeway", token(base(exp=NOW - 29)), expires=NOW - 29)
    good("exp with a fraction", token(base(exp=NOW + 100.75)), expires=NOW + 100)
    good("nbf and iat within the leeway", token(base(nbf=NOW + 30, iat=NOW + 30)))
    good("no iat", token(base(iat=None)))
    good("scope as text", token(base(scope="orders.read  orders.write ")),
         scopes=["orders.read", "orders.write"])
    good("scp as array", token(base(scp=["a b", "c"])), scopes=["a b", "c"])
    good("groups as array", token(base(groups=["one", "two"])), groups=["one", "two"])
    good("groups as text", token(base(groups="one group")), groups=["one group"])
    good("no groups", token(base(client_id="c-1")), groups=[], client="c-1")
    good("client by azp", token(base(azp="c-2", appid="c-3")), client="c-2")
    good("an escaped claim name", token('{"iss":"%s","s\\u0075b":"al\\u0069ce","aud":"api://orders",'
                                        '"exp":%d}' % (GENERIC, NOW + 5)), subject="alice")
    good("a subject of 255 bytes", token(base(sub="s" * 255)), subject="s" * 255)
    good("a subject beyond ASCII", token(base(sub="Zoë Ωμέγα")), subject="Zoë Ωμέγα")
    good("keycloak roles", token(base(iss=REALM, realm_access={"roles": ["r1", "r2"]})),
         groups=["r1", "r2"])
    good("no kid, one key", compact({"alg": "ES256"}, base(iss=SINGLE), single_key, "ES256"),
         subject="alice")
    good("no aud, the client is ours", token(base(iss=CLIENTS, aud=None, client_id="c-1")),
         client="c-1")
    good("iat within max_token_age", token(base(iss=STRICT, iat=NOW - 500), "ES256"),
         expires=NOW + 100)
    good("cognito access token", token({
        "sub": "9f1c0001-0000-4000-8000-000000000001", "cognito:groups": ["orders-readers", "b"],
        "iss": COGNITO, "version": 2, "client_id": "client-1", "origin_jti": "o", "event_id": "e",
        "token_use": "access", "scope": "openid orders/read", "auth_time": NOW - 60,
        "exp": NOW + 3540, "iat": NOW - 60, "jti": "j", "username": "alice"}, typ=None),
        subject="9f1c0001-0000-4000-8000-000000000001", client="client-1",
        groups=["orders-readers", "b"], scopes=["openid", "orders/read"])
    good("okta access token", token({
        "ver": 1, "jti": "AT.x", "iss": OKTA, "aud": "api://default", "iat": NOW - 5,
        "exp": NOW + 3600, "cid": "0oaclient", "uid": "00u1", "scp": ["orders.read"],
        "sub": "alice@example.com", "groups": ["Everyone"]}, typ=None),
        subject="alice@example.com", client="0oaclient", groups=["Everyone"],
        scopes=["orders.read"])
    good("entra access token", token({
        "aud": "6e74172b-be56-4843-9ff4-e66a39bb12e3", "iss": ENTRA, "iat": NOW, "nbf": NOW,
        "exp": NOW + 4000, "azp": "0fclient", "azpacr": "1", "scp": "Orders.Read openid",
        "roles": ["Reader"], "groups": ["g-1"], "oid": "o-1", "sub": "s-1", "tid": "t-1",
        "ver": "2.0"}), subject="s-1", client="0fclient", groups=["Reader", "g-1"],
        scopes=["Orders.Read", "openid"])


def forms():
    text = token(base())
    h, p, s = text.split(".")
    bad("empty", "", "token_malformed")
    bad("one part", h, "token_malformed")
    bad("two parts", h + "." + p, "token_malformed")
    bad("four parts", text + ".", "token_malformed")
    bad("five parts, as a JWE has", h + ".a.b.c.d", "token_malformed")
    bad("an empty header", "." + p + "." + s, "token_malformed")
    bad("an empty payload", h + ".." + s, "token_malformed")
    bad("a blank before", " " + text, "token_malformed")
    bad("a line end behind", text + "\n", "token_malformed")
    bad("padding", h + "=." + p + "." + s, "token_malformed")
    bad("padded signature", text + "==", "token_malformed")
    bad("the plain alphabet", h + "." + p + "." + s[:-4] + "+/+/", "token_malformed")
    # 256 bytes of signature: the last digit has four bits that stand for nothing.
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = last[last.index(s[-1]) + 1]
    bad("a second spelling of the signature", text[:-1] + other, "token_malformed")
    bad("too large", token(base(filler="x" * 13000)), "token_too_large")
    bad("truncated", text[:-1], "token_malformed")
    raw = base64.urlsafe_b64decode(s + "==")
    bad("the signature's last byte missing", h + "." + p + "." + b64(raw[:-1]), "signature_wrong")
    bad("without signature", h + "." + p + ".", "signature_wrong")
    bad("a bit of the signature turned", h + "." + p + "." + ("B" if s[0] != "B" else "C") + s[1:],
        "signature_wrong")
    bad("another payload under the signature", h + "." + b64(json.dumps(base(sub="root"))) + "." + s,
        "signature_wrong")
    bad("another header under the signature",
        b64(json.dumps({"alg": "RS256", "kid": "rsa-1"})) + "." + p + "." + s, "signature_wrong")
    bad("as JSON serialisation", json.dumps({"payload": p, "signature": s}), "token_malformed")


def headers():
    def raw(header):
        return compact(header, base(), rsa_key, "RS256")
    bad("header not JSON", raw("{alg:RS256}"), "header_malformed")
    bad("header an array", raw('["RS256"]'), "header_malformed")
    bad("header with a member twice", raw('{"alg":"RS256","kid":"rsa-1","alg":"RS256"}'),
        "header_malformed")
    bad("header with a member twice, once escaped",
        raw('{"alg":"RS256","kid":"rsa-1","\\u0061lg":"none"}'), "header_malformed")
    bad("header with bytes behind", raw('{"alg":"RS256","kid":"rsa-1"}x'), "header_malformed")
    bad("header with a byte order mark", raw('\ufeff{"alg":"RS256","kid":"rsa-1"}'),
        "header_malformed")
    bad("no alg", raw('{"kid":"rsa-1"}'), "header_malformed")
    bad("alg a number", raw('{"alg":256,"kid":"rsa-1"}'), "header_malformed")
    bad("kid a number", raw('{"alg":"RS256","kid":1}'), "header_malformed")
    bad("kid null", raw('{"alg":"RS256","kid":null}'), "header_malformed")
    bad("kid too long", raw(json.dumps({"alg": "RS256", "kid": "k" * 257})), "header_malformed")
    bad("typ a number", raw('{"alg":"RS256","kid":"rsa-1","typ":1}'), "header_malformed")
    for typ in ["dpop+jwt", "logout+jwt", "secevent+jwt", "JOSE", "text/JWT", "", "application/",
                "application/application/jwt"]:
        bad("typ '%s'" % typ, token(base(), typ=typ), "typ_refused")
    bad("crit", token(base(), crit=["exp"], exp=NOW), "crit_refused")
    bad("crit empty", token(base(), crit=[]), "crit_refused")
    bad("unencoded payload", token(base(), crit=["b64"], b64=False), "crit_refused")
    other = rsa_jwk(rsa_other, kid="rsa-1")
    bad("the attacker's jwk", compact({"alg": "RS256", "jwk": other}, base(), rsa_other, "RS256"),
        "key_in_token")
    bad("the attacker's jku", compact({"alg": "RS256", "kid": "rsa-1",
                                       "jku": "https://evil.example/jwks"}, base(), rsa_other,
                                      "RS256"), "key_in_token")
    bad("the attacker's x5u", token(base(), x5u="https://evil.example/cert"), "key_in_token")
    bad("the attacker's x5c", compact({"alg": "RS256", "kid": "rsa-1", "x5c": ["MIIB"]}, base(),
                                      rsa_other, "RS256"), "signature_wrong")


def algorithms():
    pem = rsa_key.public_key().public_bytes(serialization.Encoding.PEM,
                                            serialization.PublicFormat.SubjectPublicKeyInfo)
    for none in ["none", "None", "NONE", "nOnE", ""]:
        bad("alg '%s'" % none, compact({"alg": none, "kid": "rsa-1"}, base()), "alg_refused")
    bad("alg none with a signature", compact({"alg": "none", "kid": "rsa-1"}, base(), rsa_key,
                                             "RS256"), "alg_refused")
    for secret, name in [(pem, "PEM"), (pem.strip(), "PEM, stripped"), (b"", "empty text"),
                         (b"0123456789abcdef0123456789abcdef", "oct key")]:
        for kid in ["rsa-1", "secret"]:
            text = b64(json.dumps({"alg": "HS256", "kid": kid})) + "." + b64(json.dumps(base()))
            mac = hmac.new(secret, text.encode(), hashlib.sha256).digest()
            bad("HS256 with the %s as secret, kid %s" % (name, kid), text + "." + b64(mac),
                "alg_refused")
    bad("alg in lower case", compact({"alg": "rs256", "kid": "rsa-1"}, base(), rsa_key, "RS256"),
        "alg_refused")
    bad("RS256 with an EC key's kid", compact({"alg": "RS256", "kid": "ec-256"}, base(), rsa_key,
                                              "RS256"), "alg_mismatch")
    bad("ES256 with an RSA key's kid", compact({"alg": "ES256", "kid": "rsa-1"}, base(),
                                               ec_keys["ES256"], "ES256"), "alg_mismatch")
    bad("ES256 with a P-384 key", compact({"alg": "ES256", "kid": "ec-384"}, base(),
                                          ec_keys["ES256"], "ES256"), "alg_mismatch")
    bad("PS256 with a key bound to RS256", compact({"alg": "PS256", "kid": "rsa-bound"}, base(),
                                                   rsa_bound, "PS256"), "alg_mismatch")
    bad("RS512 with a key bound to RS256", compact({"alg": "RS512", "kid": "rsa-bound"}, base(),
                                                   rsa_bound, "RS512"), "alg_mismatch")
    bad("RS256 signed as RS512", compact({"alg": "RS256", "kid": "rsa-1"}, base(), rsa_key,
                                         "RS512"), "signature_wrong")
    bad("RS256 signed as PS256", compact({"alg": "RS256", "kid": "rsa-1"}, base(), rsa_key,
                                         "PS256"), "signature_wrong")
    text = b64(json.dumps({"alg": "PS256", "kid": "rsa-1"})) + "." + b64(json.dumps(base()))
    short = rsa_key.sign(text.encode(), padding.PSS(padding.MGF1(hashes.SHA256()), 20),
                         hashes.SHA256())
    bad("PS256 with a salt of 20 bytes", text + "." + b64(short), "signature_wrong")
    text = b64(json.dumps({"alg": "ES256", "kid": "ec-256"})) + "." + b64(json.dumps(base()))
    der = ec_keys["ES256"].sign(text.encode(), ec.ECDSA(hashes.SHA256()))
    bad("ES256 with a DER signature", text + "." + b64(der), "signature_wrong")
    raw = sign(ec_keys["ES256"], "ES256", text)
    bad("ES256, a zero before r", text + "." + b64(b"\0" + raw), "signature_wrong")
    bad("ES256, r and s zero", text + "." + b64(bytes(64)), "signature_wrong")
    bad("ES256, s missing", text + "." + b64(raw[:32]), "signature_wrong")
    text = b64(json.dumps({"alg": "EdDSA", "kid": "ed-1"})) + "." + b64(json.dumps(base()))
    raw = sign(ed_key, "EdDSA", text)
    bad("EdDSA, the last byte missing", text + "." + b64(raw[:-1]), "signature_wrong")
    bad("EdDSA, a byte behind", text + "." + b64(raw + b"\0"), "signature_wrong")
    bad("an algorithm that the issuer does not use", token(base(iss=STRICT), "RS256"),
        "alg_refused")
    bad("Cognito with ES256", token(base(iss=COGNITO), "ES256"), "alg_refused")


def keys():
    bad("unknown kid", compact({"alg": "RS256", "kid": "rsa-2"}, base(), rsa_key, "RS256"),
        "unknown_key")
    bad("empty kid", compact({"alg": "RS256", "kid": ""}, base(), rsa_key, "RS256"), "unknown_key")
    bad("a path as kid", compact({"alg": "RS256", "kid": "../../dev/null"}, base(), rsa_key,
                                 "RS256"), "unknown_key")
    bad("SQL as kid", compact({"alg": "RS256", "kid": "x' union select 'k"}, base(), rsa_key,
                              "RS256"), "unknown_key")
    bad("kid with a NUL behind", compact({"alg": "RS256", "kid": "rsa-1\0"}, base(), rsa_key,
                                         "RS256"), "unknown_key")
    for kid in ["for-encryption", "weak", "unknown-kind", "off-curve", "secret"]:
        bad("kid of a skipped key: " + kid, compact({"alg": "RS256", "kid": kid}, base(), rsa_other,
                                                    "RS256"), "unknown_key")
    bad("no kid, several keys", compact({"alg": "RS256"}, base(), rsa_key, "RS256"),
        "key_ambiguous")
    bad("no kid, no key for the alg", compact({"alg": "EdDSA"}, base(iss=SINGLE), ed_key, "EdDSA"),
        "key_ambiguous")
    bad("another issuer's key", token(base(iss=SINGLE)), "unknown_key")
    bad("no kid, signed by another", compact({"alg": "ES256"}, base(iss=SINGLE),
                                             ec_keys["ES256"], "ES256"), "signature_wrong")
    bad("the right kid, another's key", compact({"alg": "RS256", "kid": "rsa-1"}, base(), rsa_other,
                                                "RS256"), "signature_wrong")
    bad("keys not fetched yet", token(base(iss=UNFETCHED)), "keys_unavailable")


def payloads():
    bad("payload not JSON", token("alice"), "payload_malformed")
    bad("payload an array", token("[]"), "payload_malformed")
    bad("payload with a claim twice", token('{"iss":"%s","sub":"a","sub":"b"}' % GENERIC),
        "payload_malformed")
    bad("payload not UTF-8", compact({"alg": "RS256", "kid": "rsa-1"}, "{}", rsa_key, "RS256")
        .replace("." + b64("{}") + ".", "." + b64(b'{"iss":"\xff"}') + "."), "payload_malformed")
    bad("payload nested deep", token('{"iss":%s1%s}' % ("[" * 40, "]" * 40)), "payload_malformed")
    bad("no iss", token(base(iss=None)), "issuer_missing")
    bad("iss an array", token(base(iss=[GENERIC])), "issuer_missing")
    bad("iss with a slash behind", token(base(iss=GENERIC + "/")), "issuer_unknown")
    bad("iss in upper case", token(base(iss=GENERIC.upper())), "issuer_unknown")
    bad("iss with a NUL behind", token(base(iss=GENERIC + "\0")), "issuer_unknown")
    bad("iss of somebody", token(base(iss="https://evil.example")), "issuer_unknown")
    bad("iss empty", token(base(iss="")), "issuer_unknown")


def times():
    bad("no exp", token(base(exp=None)), "exp_missing")
    bad("exp as text", token(base(exp=str(NOW + 600))), "time_malformed")
    bad("exp null", token(json.dumps({**base(), "exp": None})), "time_malformed")
    bad("exp true", token(base(exp=True)), "time_malformed")
    bad("exp negative", token(base(exp=-1)), "time_malformed")
    bad("exp beyond all years", token(base(exp=10 ** 30)), "time_malformed")
    bad("exp in milliseconds", token(base(exp=(NOW + 600) * 1000)), "time_malformed")
    bad("exp at the end of the leeway", token(base(exp=NOW - 30)), "expired")
    bad("exp long ago", token(base(exp=1)), "expired")
    bad("nbf in the future", token(base(nbf=NOW + 31)), "not_yet_valid")
    bad("nbf as text", token(base(nbf="0")), "time_malformed")
    bad("iat in the future", token(base(iat=NOW + 31)), "issued_in_future")
    bad("iat as text", token(base(iat="0")), "time_malformed")
    bad("too old", token(base(iss=STRICT, iat=NOW - 630), "ES256"), "too_old")
    bad("no iat where age is limited", token(base(iss=STRICT, iat=None), "ES256"), "iat_missing")


def callers():
    bad("no aud", token(base(aud=None)), "audience_missing")
    bad("aud of another", token(base(aud="api://billing")), "audience_wrong")
    bad("aud, a part of ours", token(base(aud="api://order")), "audience_wrong")
    bad("aud array without ours", token(base(aud=["a", "b"])), "audience_wrong")
    bad("aud an empty array", token(base(aud=[])), "audience_wrong")
    bad("aud a list in one text", token(base(aud="a api://orders")), "audience_wrong")
    bad("aud a number", token(base(aud=1)), "claim_malformed")
    bad("aud null", token(json.dumps({**base(), "aud": None})), "claim_malformed")
    bad("aud an array with a number", token(base(aud=["api://orders", 1])), "claim_malformed")
    bad("aud an object", token(base(aud={"api://orders": 1})), "claim_malformed")
    bad("no aud, a foreign client", token(base(iss=CLIENTS, aud=None, client_id="c-9")),
        "client_wrong")
    bad("no aud, no client", token(base(iss=CLIENTS, aud=None)), "client_missing")
    bad("an aud where only clients are known", token(base(iss=CLIENTS, client_id="c-1")),
        "audience_wrong")
    bad("client a number", token(base(client_id=7)), "claim_malformed")
    bad("client with a line end", token(base(client_id="a\nb")), "claim_malformed")
    cognito = {"sub": "s", "iss": COGNITO, "client_id": "client-1", "token_use": "access",
               "exp": NOW + 60, "iat": NOW}
    bad("cognito ID token", token({**cognito, "token_use": "id", "aud": "client-1"}),
        "token_use_wrong")
    bad("cognito without token_use", token({k: v for k, v in cognito.items()
                                            if k != "token_use"}), "token_use_wrong")
    bad("cognito with token_use a list", token({**cognito, "token_use": ["access"]}),
        "token_use_wrong")
    bad("cognito of another client", token({**cognito, "client_id": "client-2"}), "client_wrong")
    bad("no sub", token(base(sub=None)), "subject_missing")
    bad("sub empty", token(base(sub="")), "subject_malformed")
    bad("sub a number", token(base(sub=42)), "subject_malformed")
    bad("sub of 256 bytes", token(base(sub="s" * 256)), "subject_malformed")
    bad("sub with a line end", token(base(sub="alice\nroot")), "subject_malformed")
    bad("sub with a NUL", token(base(sub="alice\0")), "subject_malformed")
    bad("sub with DEL", token(base(sub="alice\x7f")), "subject_malformed")
    bad("sub with U+0085", token(base(sub="alice\u0085x")), "subject_malformed")
    bad("groups a number", token(base(groups=1)), "claim_malformed")
    bad("groups with a number", token(base(groups=["a", 1])), "claim_malformed")
    bad("groups an object", token(base(groups={"a": 1})), "claim_malformed")
    bad("scope an object", token(base(scope={"a": 1})), "claim_malformed")


def c_text(text):
    out = [text[i:i + 90] for i in range(0, len(text), 90)]
    return "\n".join('    "%s"' % part.replace("\\", "\\\\").replace('"', '\\"') for part in out)


def fuzz_files():
    payload = {"iss": GENERIC, "sub": "alice", "aud": "api://orders", "exp": NOW + 600}
    tokens = {alg: token(payload, alg) for alg in ["RS256", "PS256", "ES256", "EdDSA"]}
    kept = {"keys": [k for k in KEYS["keys"] if k["kid"] in ("rsa-1", "ec-256", "ed-1")]}
    with open(os.path.join(FUZZ, "identity", "jwt_fixed.h"), "w") as f:
        f.write("/* Made by tests/vectors/jwt/make.py. */\n#ifndef SALLYPORT_FUZZ_JWT_FIXED_H\n"
                "#define SALLYPORT_FUZZ_JWT_FIXED_H\n\n")
        f.write("#define FIXED_ISSUER \"%s\"\n#define FIXED_AUDIENCE \"api://orders\"\n"
                "#define FIXED_NOW %d\n\n" % (GENERIC, NOW))
        f.write("static const char fixed_jwks[] =\n%s;\n\n" % c_text(json.dumps(kept)))
        f.write("static const char *const fixed_tokens[] = {\n%s,\n};\n\n#endif\n" %
                ",\n".join(c_text(t) for t in tokens.values()))
    os.makedirs(os.path.join(FUZZ, "corpus", "jwt"), exist_ok=True)
    os.makedirs(os.path.join(FUZZ, "corpus", "jwks"), exist_ok=True)
    seeds = dict(tokens)
    seeds["none"] = compact({"alg": "none"}, payload)
    seeds["crit"] = token(payload, "EdDSA", crit=["exp"])
    seeds["expired"] = token({**payload, "exp": 1}, "EdDSA")
    for name, text in seeds.items():
        with open(os.path.join(FUZZ, "corpus", "jwt", name), "w") as f:
            f.write(text)
    sets = {"one-of-each": kept, "single": SINGLE_KEYS, "empty": {"keys": []},
            "mixed": {"keys": [k for k in KEYS["keys"] if k["kid"] not in ("rsa-1", "rsa-bound")]},
            "twice": {"keys": [ed_jwk(ed_key, kid="a"), ed_jwk(ed_key, kid="a")]},
            "discovery": {"issuer": GENERIC, "jwks_uri": GENERIC + "/jwks"}}
    for name, value in sets.items():
        with open(os.path.join(FUZZ, "corpus", "jwks", name), "w") as f:
            json.dump(value, f)


def main():
    positives()
    forms()
    headers()
    algorithms()
    keys()
    payloads()
    times()
    callers()
    for name, value in [("keys", KEYS), ("single", SINGLE_KEYS),
                        ("cases", {"now": NOW, "cases": CASES})]:
        with open(os.path.join(HERE, name + ".json"), "w") as f:
            json.dump(value, f, indent=1)
            f.write("\n")
    fuzz_files()


main()
