"""Prints one of the tables in this folder: `python3 generate.py cookies > cookies.tsv`.

The expected answers are computed from the grammars of the RFCs, by regular expressions and Python's own library, not by code of this project.
"""

import re
import sys
from itertools import product
from urllib.parse import unquote_to_bytes

TOKEN = "Vy3pRT1rW9ZsU0bq6xQ2Lw"
TCHAR = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
TOKEN68 = r"[0-9A-Za-z\-._~+/]+=*"


def verdict(token):
    """What becomes of a token that was found."""
    return "in" if token == TOKEN else "invalid"


def authorization():
    """RFC 9110, 11.4: credentials = auth-scheme [ 1*SP ( token68 / auth-params ) ]. RFC 6750, 2.1: the token is a token68."""
    schemes = ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer:", "Bearer=", "Bearer,", '"Bearer"', "Bear", "Bearerx", "Basic", "Digest"]
    schemes += ["Token", "DPoP", "", "é", "Bear\ter", "Béarer", "!#$%&'*+-.^_`|~", "(x)", "@", "["]
    blanks = [" ", "  ", "     ", "\t", " \t", ""]
    tokens = [TOKEN, TOKEN + "x", "x" + TOKEN, TOKEN[1:], TOKEN.lower(), TOKEN + "=", TOKEN + "==", "", "a", "a=", "=", "==", "=a", "a=b"]
    tokens += ["a b", "a,b", '"a"', "a-._~+/", "a:b", "a;b", "a\\b", "a{b", "a%20b", "a*b", "é", "a\tb", TOKEN + " ", f"{TOKEN} {TOKEN}"]
    tokens += [TOKEN + ",", 'realm="x"']
    for parts in product(schemes, blanks, tokens):
        value = "".join(parts)
        yield value, authorized(value)


def authorized(value):
    pair = re.fullmatch(rf"({TCHAR}+) +([^ ].*)", value)
    if pair is None:
        if value.lower() == "bearer":
            return "no token"
        # A single word is a scheme or, without a scheme, a token.
        return "missing" if re.fullmatch("[!-~]+", value) else "malformed"
    scheme, token = pair.groups()
    if scheme.lower() != "bearer":
        return "missing"
    return verdict(token) if re.fullmatch(TOKEN68, token) else "no token"


def cookies():
    """RFC 6265, 4.1.1 and 5.4: a cookie-value is in double quotes or not, and contains none of `"`, `,` and `\\`."""
    values = [TOKEN, f'"{TOKEN}"', f'"{TOKEN}', f'{TOKEN}"', "", '""', '"', "a", "a b", "a,b", 'a"b', "a\\b", "é", "a=b", "%41", TOKEN + " "]
    values += [" " + TOKEN]
    names = ["__Host-t", "__host-t", "x__Host-t", "__Host-t2", "t", "__Host-t "]
    before = ["", "a=b; ", "a=b;", " ; ", "a; ", "__Host-tt=1; "]
    after = ["", "; c=d", ";", ";;c"]
    for value, name, first, last in product(values, names, before, after):
        field = f"{first}{name}={value}{last}"
        yield field, by_cookie(field)
    for one, other in product(values, values[:8]):
        field = f"__Host-t={one}; __Host-t={other}"
        yield field, by_cookie(field)


def by_cookie(field):
    found = []
    for pair in field.split(";"):
        name, equals, value = pair.strip(" \t").partition("=")
        if name == "__Host-t" and equals:
            if found:
                return "repeated"
            value = re.fullmatch(r'("?)([^",\\]*)\1', value)
            if value is None:
                return "malformed cookie"
            found.append(value[2])
    if not found:
        return "missing"
    return verdict(found[0]) if re.fullmatch("[!-~]+", found[0]) else "malformed"


def parameters():
    """RFC 6750, 2.2 and 2.3; WHATWG URL, 5: application/x-www-form-urlencoded. A `+` is a blank, which no token contains."""
    names = ["access_token", "access%5Ftoken", "access%5ftoken", "%61ccess_token", "access_toke%6E", "Access_Token", "access_token%20"]
    names += ["access%255Ftoken", "access+token", "xaccess_token", "access_token2", "access_token[]", "", "access_toke"]
    values = [TOKEN, "%56" + TOKEN[1:], "%5" + TOKEN[1:], TOKEN + "%", "%", "".join(f"%{ord(c):02X}" for c in TOKEN), "", "a", "a+b", "a%2Bb"]
    values += ["a%20b", "%FF", "%C3%A9", "%C3", "a%0Ab", "a%00b", "a=b", "%25", "a%26b", "a;b"]
    before = ["", "a=b&", "a&", "&", "=&"]
    after = ["", "&c", "&", "&access_token=x", "&access%5Ftoken"]
    for name in names:
        for value, first, last in product(values, before, after):
            text = f"{first}{name}={value}{last}"
            yield text, by_parameter(text)
        yield name, by_parameter(name)


def by_parameter(text):
    found = []
    for pair in text.split("&"):
        name, _, value = pair.partition("=")
        if unquote_to_bytes(name.replace("+", " ")) != b"access_token":
            continue
        if found:
            return "repeated"
        try:
            found.append(unquote_to_bytes(value).decode())
        except UnicodeDecodeError:
            return "malformed parameter"
        if "+" in value:
            return "malformed parameter"
    if not found:
        return "missing"
    return verdict(found[0]) if re.fullmatch("[!-~]+", found[0]) else "malformed"


def cross_site():
    """Fetch Metadata (`Sec-Fetch-Site`), and RFC 6454 (`Origin`) for browsers that do not send it. A WebSocket is never a safe request."""
    methods = ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "POST", "PUT", "PATCH", "DELETE", "get", "PROPFIND"]
    sites = ["-", "same-origin", "same-site", "cross-site", "none", "", "Same-Origin", "same-origin, none"]
    origins = ["-", "https://api.example.com", "http://api.example.com", "https://API.example.com", "https://api.example.com:8443"]
    origins += ["https://api.example.com.evil.example", "https://app.example.com", "http://app.example.com", "https://APP.example.com"]
    origins += ["https://app.example.com/", "https://evil.example", "null", "", "api.example.com"]
    for method, upgrade, site, origin in product(methods, ["-", "websocket"], sites, origins):
        # RFC 9110, 9.2.1 and RFC 10008, 2: safe methods. Methods are case-sensitive.
        is_safe = method in ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY"] and upgrade == "-"
        is_trusted = origin == "https://app.example.com"
        if site == "-":
            host = re.fullmatch("https?://([^/]*)", origin)
            is_own = host is not None and host[1].lower() == "api.example.com"
        else:
            is_own = site in ["same-origin", "none"]
        yield method, upgrade, site, origin, "200" if is_safe or is_trusted or is_own else "403"


def escape(column):
    for plain, escaped in [("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")]:
        column = column.replace(plain, escaped)
    return column


TABLES = {
    "authorization": (authorization, "# The value of the header, and what becomes of it where `Bearer` is looked for (RFC 9110, 11.2 and 11.4; RFC 6750, 2.1)."),
    "cookies": (cookies, "# The value of the header `Cookie`, and what becomes of it where `__Host-t` is looked for (RFC 6265, 4.1.1 and 5.4)."),
    "parameters": (parameters, "# A query, and what becomes of it where `access_token` is looked for (RFC 6750, 2.3; WHATWG URL, 5)."),
    "cross_site": (
        cross_site,
        "# A request with the cookie to `api.example.com`, where `https://app.example.com` is trusted: method, `Upgrade`, `Sec-Fetch-Site`, `Origin` (`-` is\n# none), and the status.",
    ),
}

rows, title = TABLES[sys.argv[1]]
print(title)
for row in dict.fromkeys(rows()):
    print("\t".join(map(escape, row)))
