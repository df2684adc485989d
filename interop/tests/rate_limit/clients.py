# Clients that obey `Retry-After`: each sends four requests one after another, and prints the status of each.
import json
import sys
import threading

import tenacity
import urllib3

URL = sys.argv[1]
# Two threads print.
OUTPUT = threading.Lock()


class Refused(Exception):
    pass


def wait(state):
    return float(state.outcome.exception().args[0])


def by_urllib3():
    # It repeats 413, 429 and 503 with `Retry-After` by default.
    http = urllib3.PoolManager(retries=urllib3.Retry(total=3))
    return http.request("GET", URL, headers={"x-client": "urllib3"}).status


@tenacity.retry(wait=wait, stop=tenacity.stop_after_attempt(4))
def by_tenacity():
    response = urllib3.request("GET", URL, headers={"x-client": "tenacity"}, retries=False)
    if response.status == 429:
        raise Refused(response.headers["retry-after"])
    return response.status


def run(name, send):
    for _ in range(4):
        line = json.dumps({"name": name, "status": send()})
        with OUTPUT:
            print(line, flush=True)


threads = [threading.Thread(target=run, args=client) for client in (("urllib3", by_urllib3), ("tenacity", by_tenacity))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
