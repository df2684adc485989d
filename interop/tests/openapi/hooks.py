"""JSON Schema counts 2.0 as an integer, and serde does not read it as one."""

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
