#!/usr/bin/env bash
# curl: a query, a trusted document by GET that is not sent twice, and a mutation that may be tried again.
set -euo pipefail
cd "$(mktemp -d)"

# <query>
curl --silent --show-error "$DRIFTGRAPH_URL" \
  --header "Authorization: Bearer $DRIFTGRAPH_TOKEN" \
  --header "Accept: application/graphql-response+json" \
  --json '{"query": "query CurlPayers($first: Int!) { payers(first: $first) { nodes { name } } }", "variables": {"first": 2}}'
# </query>
echo

# <get>
get() {
  curl --silent --show-error --get "$DRIFTGRAPH_URL" \
    --header "Authorization: Bearer $DRIFTGRAPH_TOKEN" \
    --data-urlencode 'query={ payers(first: 2) { nodes { name } } }' \
    --etag-save etag --etag-compare etag --output answer.json --write-out '%{http_code}\n'
}
get # 200
get # 304: answer.json still holds
# </get>

# <mutation>
for try in 1 2; do
  curl --silent --show-error "$DRIFTGRAPH_URL" \
    --header "Authorization: Bearer $DRIFTGRAPH_TOKEN" \
    --header "Accept: application/graphql-response+json" \
    --header "Idempotency-Key: map-acme-1" \
    --json '{
      "query": "mutation($input: PayerMapInput!) { payerMap(input: $input) { payer { id name } userErrors { code path } } }",
      "variables": {"input": {"rawName": "The first payer", "payerCode": "payer 0"}}
    }'
  echo
done
# </mutation>
