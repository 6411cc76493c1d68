"""gql, with its transport on httpx: pages one after the other, and errors by their code."""

# <client>
import asyncio
import json
import os
from typing import Any

from gql import Client, gql
from gql.transport.exceptions import TransportQueryError
from gql.transport.httpx import HTTPXAsyncTransport

TRANSPORT = HTTPXAsyncTransport(
    url=os.environ["DRIFTGRAPH_URL"],
    headers={
        "accept": "application/graphql-response+json",
        "authorization": f"Bearer {os.environ['DRIFTGRAPH_TOKEN']}",
    },
)
# </client>

# <paging>
PAYERS = """
  query GqlPayers($first: Int!, $after: String) {
    payers(first: $first, after: $after) {
      nodes { id name }
      pageInfo { hasNextPage endCursor }
    }
  }
"""


async def names(session: Any) -> list[str]:
    """The names of all payers, three at a time."""
    found: list[str] = []
    after, more = None, True
    while more:
        request = gql(PAYERS)
        request.variable_values = {"first": 3, "after": after}
        page = (await session.execute(request))["payers"]
        found += [node["name"] for node in page["nodes"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    return found


# </paging>

# <errors>
MAP = """
  mutation GqlMap($input: PayerMapInput!) {
    payerMap(input: $input) { payer { code } userErrors { code path } }
  }
"""


async def codes(session: Any) -> list[str]:
    """The code of a request that could not be served, and that of an input which the mutation did not take."""
    try:
        await session.execute(gql('{ payers(after: "elsewhere") { totalCount } }'))
        found = []
    except TransportQueryError as error:
        found = [one["extensions"]["code"] for one in error.errors or []]
    request = gql(MAP)
    request.variable_values = {"input": {"rawName": "Acme", "payerCode": ""}}
    mapped = await session.execute(request)
    return found + [one["code"] for one in mapped["payerMap"]["userErrors"]]


# </errors>


# <session>
async def main() -> None:
    # The client checks requests by the schema that the server tells it of.
    async with Client(transport=TRANSPORT, fetch_schema_from_transport=True) as session:
        print(json.dumps({"names": await names(session), "codes": await codes(session)}))


asyncio.run(main())
# </session>
