"""Prints the verdicts of PyJWT and joserfc on each case of cases.json: `python3 python.py`."""

import json
import pathlib
import warnings

import joserfc.jwk
import joserfc.jwt
import jwt

ISSUER, AUDIENCE = "https://issuer.example", "api"


class Local(jwt.PyJWKClient):
    """The key of a token as the client chooses it, without a fetch."""

    def __init__(self, jwks):
        super().__init__("https://issuer.example/keys")
        self.jwks = jwks

    def fetch_data(self):
        return self.jwks


def pyjwt(case):
    key = Local(case["jwks"]).get_signing_key_from_jwt(case["token"])
    options = {"require": ["exp"]}
    jwt.decode(case["token"], key, case["algorithms"], options, audience=AUDIENCE, issuer=ISSUER, leeway=60)


def joserfc_(case):
    keys = joserfc.jwk.KeySet.import_key_set(case["jwks"])
    token = joserfc.jwt.decode(case["token"], keys, algorithms=case["algorithms"])
    rules = joserfc.jwt.JWTClaimsRegistry(
        leeway=60, exp={"essential": True}, iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": AUDIENCE}
    )
    rules.validate(token.claims)


def accepted(verify, case):
    try:
        verify(case)
    except Exception:
        return False
    return True


warnings.simplefilter("ignore")
for case in json.loads(pathlib.Path(__file__).with_name("cases.json").read_text()):
    for name, verify in [("pyjwt", pyjwt), ("joserfc", joserfc_)]:
        print(case["name"], name, str(accepted(verify, case)).lower(), sep="\t")
