"""What no schema can state.

JSON Schema counts 2.0 as an integer (2020-12, 6.1.1), and serde reads no integer from it: no schema can exclude 2.0 and permit 2.

An Idempotency-Key belongs to one request, and schemathesis sends the same one with others.
"""

import re
import uuid

import schemathesis


def whole(value):
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [whole(item) for item in value]
    if isinstance(value, dict):
        return {name: whole(member) for name, member in value.items()}
    return value


@schemathesis.hook
def map_body(context, body):
    return whole(body)


@schemathesis.hook
def before_call(context, case, kwargs):
    key = (case.headers or {}).get("idempotency-key")
    # A key that is not valid stays, because it must be refused.
    if isinstance(key, str) and re.fullmatch(r'"[\w-]+"|[!#-+\--:<-\[\]-~]+', key):
        case.headers["idempotency-key"] = uuid.uuid4().hex
