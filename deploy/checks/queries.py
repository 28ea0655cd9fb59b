"""queries.py DASHBOARD ALERTS: each query of the dashboard gives data; each metric that an alert names
is exported.
"""

import json
import re
import sys
import urllib.parse
import urllib.request


def ask(expression):
    url = "http://localhost:9090/api/v1/query?" + urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)["data"]["result"]


with open(sys.argv[1]) as file:
    panels = json.load(file)["panels"]
with open(sys.argv[2]) as file:
    alerts = re.sub(r"#.*", "", file.read())
expressions = [t["expr"].replace("$instance", ".*") for p in panels for t in p.get("targets", [])]
answers = {expression: ask(expression) for expression in expressions}
empty = [expression for expression, rows in answers.items() if not rows]
nan = [e for e, rows in answers.items() if any(row["value"][1] == "NaN" for row in rows)]
missing = [m for m in sorted(set(re.findall(r"corelog_\w+", alerts))) if not ask(m)]
if empty or missing:
    sys.exit(f"no data: {empty}; no such metric: {missing}")
print(f"told: {len(expressions)} queries have data, {len(nan)} of them are NaN for some node")
