// Relay: documents by id, and pages appended to one connection of its store.
// <client>
import relay from 'relay-runtime';

import nextQuery from './relay/__generated__/payersNextQuery.graphql.js';
import listFragment from './relay/__generated__/payers_list.graphql.js';
import query from './relay/__generated__/payersQuery.graphql.js';

const { Environment, Network, RecordSource, Store, createOperationDescriptor, fetchQuery, getSelector } = relay;
const { DRIFTGRAPH_URL: url, DRIFTGRAPH_TOKEN: token } = process.env;

async function ask({ id, text }, variables) {
  const answer = await fetch(url, {
    method: 'POST',
    headers: {
      accept: 'application/graphql-response+json',
      'content-type': 'application/json',
      authorization: `Bearer ${token}`,
    },
    body: JSON.stringify({ ...(id ? { documentId: id } : { query: text }), variables }),
  });
  return answer.json();
}

const environment = new Environment({ network: Network.create(ask), store: new Store(new RecordSource()) });
// </client>

// <paging>
const variables = { count: 3 };
const shown = createOperationDescriptor(query, variables);
environment.retain(shown);
await fetchQuery(environment, query, variables).toPromise();

/** What usePaginationFragment gives a component: all pages so far. */
function list() {
  const { data } = environment.lookup(shown.fragment);
  return environment.lookup(getSelector(listFragment, data)).data.payers;
}

while (list().pageInfo.hasNextPage) {
  await fetchQuery(environment, nextQuery, { ...variables, cursor: list().pageInfo.endCursor }).toPromise();
}
const names = list().edges.map(({ node }) => node.name);
// </paging>

// <errors>
const codes = [];
try {
  await fetchQuery(environment, nextQuery, { count: 3, cursor: 'elsewhere' }).toPromise();
} catch (error) {
  codes.push(...error.source.errors.map(({ extensions }) => extensions.code));
}
// </errors>

console.log(JSON.stringify({ names, codes }));
