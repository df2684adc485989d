"""Prints one of the tables in this folder: `python3 generate.py times > times.tsv`.

The expected refusals are computed from the RFCs with Python's own JSON reader, not by code of this project.
"""

import json
import math
import re
import sys
from itertools import product

NOW = 1_800_000_000
SOON = str(NOW + 60)


class Malformed(Exception):
    """The text is not a JSON object (RFC 8259), or it has a name twice (RFC 7515, 4; RFC 7519, 4)."""


def members(text):
    """Yields the members of an object in the order of the text. The first fault of a token decides, so the caller checks each as it comes."""

    def unique(pairs):
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a name is there twice")
        return dict(pairs)

    def finite(number):
        if not math.isfinite(float(number)):
            raise ValueError(number)
        return float(number)

    def refuse(constant):
        raise ValueError(constant)

    decoder = json.JSONDecoder(object_pairs_hook=unique, parse_float=finite, parse_constant=refuse)
    names = set()

    def skip(at, pattern):
        found = re.compile(r"[ \t\n\r]*" + pattern + r"[ \t\n\r]*").match(text, at)
        if found is None:
            raise Malformed
        return found.end()

    def decode(at):
        try:
            value, end = decoder.raw_decode(text, at)
            # A string must be text: not half of a surrogate pair.
            json.dumps(value, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            raise Malformed from None
        if isinstance(value, (int, float)) and re.match("[0-9.eE]", text[end : end + 1]):
            raise Malformed
        return value, end

    at = skip(0, "{")
    while names or text[at : at + 1] != "}":
        name, at = decode(at)
        if not isinstance(name, str) or name in names:
            raise Malformed
        names.add(name)
        value, at = decode(skip(at, ":"))
        yield name, value
        if text[skip(at, "") :][:1] == "}":
            break
        at = skip(at, ",")
    if skip(skip(at, "}"), "") < len(text):
        raise Malformed


def headers():
    """RFC 7515, 4; RFC 7519, 5; RFC 8725, 3. The only key is one of HS256."""
    algorithms = ["HS256", "HS384", "HS512", "RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519", "none", "None", "NONE", "nOnE", ""]
    algorithms += ["hs256", "HS256 ", " HS256", r"HS\u0032\u0035\u0036", r"HS256\u0000", "ES512", "ES256K", "Ed448", "RSA-OAEP", "dir", "A128GCM"]
    algorithms = [f'"{name}"' for name in algorithms] + ["null", "true", "1", '["HS256"]', '{"a":"HS256"}']
    types = ["JWT", "jwt", "Jwt", "at+jwt", "AT+JWT", "application/jwt", "application/at+jwt", "Application/JWT", "application/x/jwt", "application/"]
    types += ["", "JOSE", "JWS", "dpop+jwt", "logout+jwt", "JWT ", "token-introspection+jwt"]
    types = [f'"{name}"' for name in types] + ["null", "1", '["JWT"]']
    others = ['"crit":["exp"]', '"crit":[]', '"crit":["x"],"x":1', '"crit":null', '"crit":"x"', '"b64":false', '"b64":true']
    others += ['"b64":false,"crit":["b64"]', '"zip":"DEF"', '"zip":null', '"cty":"JWT"', '"cty":"application/jwt"', '"cty":"text/plain"']
    others += ['"cty":""', '"cty":1', '"jku":"https://evil.example"', '"jwk":{"kty":"oct","k":"AA"}', '"x5u":"https://evil.example"']
    others += ['"x5c":["AA"]', '"kid":"1"', '"kid":"../../etc/passwd"', '"kid":"\' OR 1=1"', '"kid":1', '"kid":null', '"kid":""']
    others += ['"enc":"A128GCM"', '"x":1,"x":1', '"alg":"HS256"', r'"\u0061lg":"HS256"', '"X":{"a":[1,{"b":null}]}']
    algorithms = [f'"alg":{name}' for name in algorithms] + [""]
    types = [f'"typ":{name}' for name in types]
    for parts in [*product(algorithms, ["", *types]), *product(algorithms, others), *product(algorithms[:1], types, others)]:
        header = "{" + ",".join(filter(None, parts)) + "}"
        yield header, header_refusal(header)


def header_refusal(text):
    header = {}
    try:
        for name, value in members(text):
            if name in ["alg", "typ", "kid", "cty"] and not isinstance(value, str):
                return "malformed"
            header[name] = value
    except Malformed:
        return "malformed"
    # Extensions (RFC 7515, 4.1.11; RFC 7797), compression, and a nested token are not supported.
    if header.keys() & {"crit", "b64", "zip"} or media_type(header.get("cty")) == "jwt":
        return "header"
    if "alg" not in header:
        return "malformed"
    if header["alg"] not in KNOWN:
        return "algorithm"
    # RFC 8725, 3.11: explicit types. Only those of a JWT (RFC 7519, 5.1) and of an access token (RFC 9068, 2.1) are accepted.
    if media_type(header.get("typ", "JWT")) not in ["jwt", "at+jwt"]:
        return "type"
    return "ok" if header["alg"] == "HS256" else "algorithm"


KNOWN = ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "Ed25519"]


def media_type(name):
    """RFC 7515, 4.1.9: `application/` may be left out, if there is no other slash."""
    lower = (name or "").lower()
    rest = lower.removeprefix("application/")
    return lower if "/" in rest else rest


def claims():
    """RFC 7519, 4.1 and 7.2."""
    values = ['"a"', '""', '"me"', f'"{SOON}"', r'"\u0061"', '" me"', '"ME"', r'"\ud83d\ude00"', "0", "1", "-1", "-0", "1.5", "-1.5", "1e3", SOON]
    values += [SOON + ".5", "1.80000006e9", "18000000600e-1", "253402300799", "253402300799.5", "253402300800", "9007199254740993"]
    values += ["18446744073709551615", "18446744073709551616", "-9223372036854775809", "1e30", "1e-30", "1e400", "true", "false", "null", "[]"]
    values += ['["me"]', '["me","x"]', '["x"]', '["me",1]', '[["me"]]', '["me",null]', f"[{SOON}]", "{}", '{"me":1}', '{"jkt":"x"}']
    values += ['{"a":{"b":[1]}}', "NaN", "Infinity", "+1", "01", "1.", ".5", "0x1", "'a'", "a", '"a', r'"\x"', r'"\ud800"', "[1,]", '{"a":}']
    values += ["[", "tru", '"\t"']
    base = {"exp": SOON, "iss": '"me"', "aud": '"me"', "sub": '"me"', "azp": '"me"'}
    for text in claim_sets(values, base):
        yield text, claims_refusal(text)


def claim_sets(values, base):
    def join(members):
        return ",".join(f'"{name}":{value}' for name, value in members.items())

    for name in ["exp", "nbf", "iat", "iss", "aud", "sub", "jti", "azp", "cnf", "scope", "acr", "auth_time", "nonce", "other"]:
        rest = {other: value for other, value in base.items() if other != name}
        for value in values:
            yield "{" + join({name: value, **rest}) + "}"
            yield "{" + join({**rest, name: value}) + "}"
        value = base.get(name, "1" if name in ["nbf", "iat", "auth_time"] else '"x"')
        for twice in [name, f"\\u{ord(name[0]):04x}{name[1:]}"]:
            yield "{" + join({**rest, name: value}) + f',"{twice}":{value}' + "}"
        if name in base:
            yield "{" + join(rest) + "}"
        yield "{" + join({**rest, name.upper(): value}) + "}"
    good = "{" + join(base) + "}"
    yield from [f" {good}", f"\n\t\r {good} \n", f"\ufeff{good}", f"{good}x", f"{good}{{}}", f"{good}\0", f"[{good}]", f"{good},", f"\x0b{good}", "", "null", "true", "1", '"x"', "[]", "{", "}", "{}}"]
    yield from ['{"exp"}', '{"exp":}', "{:1}", "{1:1}", f"{{exp:{SOON}}}", f"{{'exp':{SOON}}}", f'{{"exp":{SOON},}}', f'{{,"exp":{SOON}}}', "//x\n{}"]
    yield f'{{"exp":{SOON} "a":1}}'


def claims_refusal(text):
    claims = {}
    try:
        for name, value in members(text):
            if not has_its_type(name, value):
                return "invalid_claim"
            claims[name] = value
    except Malformed:
        return "malformed"
    audience = claims.get("aud", [])
    audience = [audience] if isinstance(audience, str) else audience
    if "exp" not in claims:
        return "missing_claim"
    if claims["exp"] + 60 <= NOW:
        return "expired"
    # A fraction of a second does not count.
    if int(claims.get("nbf", 0)) > NOW + 60:
        return "not_yet_valid"
    if int(claims.get("iat", 0)) > NOW + 60:
        return "issued_in_future"
    if claims.get("iss") not in ["me", "a"]:
        return "issuer"
    if "me" not in audience:
        return "audience"
    if claims.get("sub") not in ["me", "a"]:
        return "subject"
    # RFC 7800: a token that is bound to a key is no bearer token.
    if claims.get("azp") != "me":
        return "custom"
    return "sender_constrained" if "cnf" in claims else "ok"


def has_its_type(name, value):
    if name in ["exp", "nbf", "iat"]:
        # No date is after the year 9999.
        return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 253402300799
    if name == "aud" and isinstance(value, list):
        return all(isinstance(one, str) for one in value)
    return name not in ["iss", "sub", "jti", "aud"] or isinstance(value, str)


def times():
    """RFC 7519, 4.1.4 to 4.1.6: `exp` has passed at its second, and the leeway widens each limit."""
    for leeway, age in product([0, 5, 60, 600], [None, 1, 100]):
        expiries = dict.fromkeys([-leeway - 1, -leeway, -leeway + 1, 0, 1, 600, None])
        others = dict.fromkeys([-leeway - 101, -leeway - 100, 0, leeway, leeway + 1, None])
        for exp, nbf, iat in product(expiries, others, others):
            columns = ["-" if value is None else str(value) for value in (leeway, age, exp, nbf, iat)]
            yield *columns, time_refusal(leeway, age, exp, nbf, iat)


def time_refusal(leeway, age, exp, nbf, iat):
    if exp is None:
        return "missing_claim"
    if exp + leeway <= 0:
        return "expired"
    if nbf is not None and nbf - leeway > 0:
        return "not_yet_valid"
    if iat is not None and iat - leeway > 0:
        return "issued_in_future"
    if age is None:
        return "ok"
    if iat is None:
        return "missing_claim"
    return "too_old" if -iat > age + leeway else "ok"


def escape(column):
    for plain, escaped in [("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")]:
        column = column.replace(plain, escaped)
    return column


TABLES = {
    "headers": (headers, "# A header with a good signature of HS256, and the refusal (RFC 7515, 4; RFC 7519, 5; RFC 8725, 3)."),
    "claims": (claims, "# A claim set, and the refusal, at 1800000000 with the issuers, subjects `me` and `a`, the audience `me` and `azp` `me`."),
    "times": (times, "# Leeway, `max_age`, then `exp`, `nbf` and `iat` relative to now in seconds (`-` is none), and the refusal (RFC 7519, 4.1.4 to 4.1.6)."),
}

rows, title = TABLES[sys.argv[1]]
print(title)
for row in dict.fromkeys(rows()):
    print("\t".join(map(escape, row)))
