"""Prints cases.json: deliveries, signed with the standard library: `python3 generate.py > cases.json`."""

import base64
import hashlib
import hmac
import json

NOW = 1700000000
STANDARD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
TEXT = "whsec_test_secret_of_stripe"
BODY = '{"id": "evt_1", "name": "Zo\u00eb"}'
cases = []


def tag(key, message):
    return hmac.new(key, message.encode(), hashlib.sha256)


def case(name, kind, secret, headers, body=BODY):
    cases.append({"name": f"{kind}: {name}", "format": kind, "secret": secret, "headers": headers, "body": body})


def standard(name, id="msg_1", time=str(NOW), body=BODY, sent=None, secret=STANDARD, change=lambda s: s, drop=None):
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = "v1," + base64.b64encode(tag(key, f"{id}.{time}.{body}").digest()).decode()
    headers = {"webhook-id": id, "webhook-timestamp": time, "webhook-signature": change(signature)}
    headers.pop(drop, None)
    case(name, "standard", STANDARD, headers, body if sent is None else sent)


def stripe(name, time=str(NOW), body=BODY, sent=None, secret=TEXT, change=lambda t, v1: f"t={t},v1={v1}"):
    v1 = tag(secret.encode(), f"{time}.{body}").hexdigest()
    case(name, "stripe", TEXT, {"stripe-signature": change(time, v1)}, body if sent is None else sent)


def github(name, body=BODY, sent=None, secret=TEXT, change=lambda s: f"sha256={s}"):
    signature = tag(secret.encode(), body).hexdigest()
    case(name, "github", TEXT, {"x-hub-signature-256": change(signature)}, body if sent is None else sent)


for make in (standard, stripe, github):
    make("valid")
    make("an empty body", body="")
    make("another body", sent=BODY + " ")
    make("the body written again", sent=json.dumps(json.loads(BODY), separators=(",", ":")))
    make("another secret", secret=OTHER)
for make in (standard, stripe):
    for off in (-301, -300, -1, 1, 300, 301):
        make(f"a timestamp off by {off}", time=str(NOW + off))
    make("a timestamp with a zero in front", time=f"0{NOW}")
    make("a timestamp with a sign", time=f"+{NOW}")
    make("a timestamp with a fraction", time=f"{NOW}.0")
    make("a timestamp that is a text", time="now")
    make("an empty timestamp", time="")
for field in ("webhook-id", "webhook-timestamp", "webhook-signature"):
    standard(f"no {field}", drop=field)
standard("an empty id", id="")
standard("an id with a full stop", id="msg.1")
standard("two signatures, the second valid", change=lambda s: f"v1,{'A' * 43}= {s}")
standard("two signatures, the first valid", change=lambda s: f"{s} v1,{'A' * 43}=")
standard("a newer version beside it", change=lambda s: f"v9,abc {s}")
standard("a newer version alone", change=lambda s: s.replace("v1", "v9"))
standard("without a version", change=lambda s: s[3:])
standard("without padding", change=lambda s: s.rstrip("="))
standard("in base64url", change=lambda s: s.replace("+", "-").replace("/", "_"), body="body 1")
standard("in upper case", change=str.upper)
standard("an empty signature", change=lambda s: "")
standard("a part of the signature", change=lambda s: s[:-8] + "=")
stripe("two signatures, the second valid", change=lambda t, v1: f"t={t},v1={'0' * 64},v1={v1}")
stripe("a test signature beside it", change=lambda t, v1: f"t={t},v1={v1},v0={'0' * 64}")
stripe("a test signature alone", change=lambda t, v1: f"t={t},v0={v1}")
stripe("no timestamp", change=lambda t, v1: f"v1={v1}")
stripe("no signature", change=lambda t, v1: f"t={t}")
stripe("two timestamps, the first one signed", change=lambda t, v1: f"t={t},t=1,v1={v1}")
stripe("two timestamps, the second one signed", change=lambda t, v1: f"t=1,t={t},v1={v1}")
stripe("a space after the comma", change=lambda t, v1: f"t={t}, v1={v1}")
stripe("in upper case", change=lambda t, v1: f"t={t},v1={v1.upper()}")
stripe("the signature first", change=lambda t, v1: f"v1={v1},t={t}")
stripe("an empty field", change=lambda t, v1: "")
github("in upper case", change=lambda s: f"sha256={s.upper()}")
github("without the algorithm", change=lambda s: s)
github("another algorithm", change=lambda s: f"sha1={s}")
github("a digit too few", change=lambda s: f"sha256={s[:-1]}")
github("an empty field", change=lambda s: "")
print(json.dumps(cases, indent=0))
