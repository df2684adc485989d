"""Prints the table in this folder: `python3 generate.py rules > rules.tsv`.

The expected answers are computed from RFC 6750, 3 and RFC 9470, 3, by sets and comparisons, not by code of this project.
"""

import sys
from itertools import permutations, product

SIMPLE = [("s", "a"), ("s", "b"), ("r", "a"), ("p", "a"), ("acr", "1"), ("age", "100")]


def rules():
    s_a, s_b, r_a, p_a, acr_1, age_100 = SIMPLE
    pairs = [(s_a, r_a), (s_b, acr_1), (p_a, age_100), (acr_1, age_100)]
    nested = [(kind, (first, (other, pair))) for kind, other in [("all", "any"), ("any", "all")] for first, pair in product(SIMPLE, pairs)]
    all_rules = [*SIMPLE, ("acr", "1|2"), *product(["all", "any"], permutations(SIMPLE, 2)), *nested]
    callers = ["- - - - -", "a - - - -", "b - - - -", "ab - - - -", "- a - - -", "- - a - -", "- - - 1 -", "- - - 2 -", "- - - - 100", "- - - - 101"]
    callers += ["- - - 1 0", "ab a a - -", "ab a a 1 100", "a a - 1 -", "b - a 2 50", "a - - - 7", "ab - - 1 200", "nobody - - - -"]
    for rule, caller in product(all_rules, callers):
        columns = caller.split()
        yield text(rule), *columns, answer(rule, *columns)


def text(rule):
    kind, rest = rule
    return f"{kind}({','.join(map(text, rest))})" if kind in ["all", "any"] else f"{kind}:{rest}"


def answer(rule, scopes, role, permission, acr, age):
    if scopes == "nobody":
        wanted = words(rule, "s")
        return '401 Bearer realm="api"' + (f', scope="{" ".join(wanted)}"' if wanted else "")
    denial = deny(rule, {"s": set(scopes), "r": {role}, "p": {permission}, "acr": {acr}, "age": age})
    if denial is None:
        return "200"
    scope = words(rule, "s")
    if denial == "grant":
        return '403 Bearer realm="api", error="insufficient_scope"' + (f', scope="{" ".join(scope)}"' if scope else "")
    acrs, ages = words(rule, "acr"), words(rule, "age")
    need = "A different or more recent authentication" if acrs and ages else "A different authentication level" if acrs else "More recent authentication"
    parts = ['401 Bearer realm="api"', 'error="insufficient_user_authentication"', f'error_description="{need} is required"']
    parts += [f'{name}="{" ".join(found)}"' for name, found in [("acr_values", acrs), ("max_age", ages), ("scope", scope)] if found]
    return ", ".join(parts)


def deny(rule, caller):
    """None, or whether a grant is missing or another sign-in is needed. Of all, the first decides; of any, a sign-in, which may help."""
    kind, rest = rule
    if kind in ["all", "any"]:
        denials = [deny(part, caller) for part in rest]
        failed = [denial for denial in denials if denial]
        if kind == "all":
            return failed[0] if failed else None
        return None if len(failed) < len(denials) else "sign-in" if "sign-in" in failed else "grant"
    if kind == "age":
        return None if caller["age"] != "-" and int(caller["age"]) <= int(rest) else "sign-in"
    if caller[kind] & set(rest.split("|")):
        return None
    return "sign-in" if kind == "acr" else "grant"


def words(rule, wanted):
    """What all simple rules of a kind name, each once."""
    kind, rest = rule
    if kind in ["all", "any"]:
        return list(dict.fromkeys(word for part in rest for word in words(part, wanted)))
    return rest.split("|") if kind == wanted else []


TITLE = "# A rule (`s` scope, `r` role, `p` permission), a caller (scopes, role, permission, `acr`, seconds since the sign-in), and the answer."

assert sys.argv[1] == "rules"
print(TITLE)
for row in rules():
    print("\t".join(row))
