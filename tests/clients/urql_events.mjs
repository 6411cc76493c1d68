// urql: a subscription that its own fetch reads as server-sent events.
import { advance, started } from './runs.mjs';

const id = await started();
const seen = [];

// <subscriptions>
import { Client, fetchExchange, gql } from '@urql/core';
import { toAsyncIterable } from 'wonka';

const { DRIFTGRAPH_URL: url, DRIFTGRAPH_TOKEN: token } = process.env;
const urql = new Client({
  url,
  preferGetMethod: false,
  fetchSubscriptions: true,
  fetchOptions: { headers: { authorization: `Bearer ${token}` } },
  exchanges: [fetchExchange],
});

const PROGRESS = gql`
  subscription FollowByUrql($id: ID!, $after: String) {
    agentRunProgress(id: $id, after: $after) { phase done total status cursor }
  }
`;
for await (const { data, error, hasNext } of toAsyncIterable(urql.subscription(PROGRESS, { id }))) {
  if (error) throw error;
  if (!hasNext) break; // the end, with the last event once more
  seen.push(data.agentRunProgress);
  if (data.agentRunProgress.status === 'RUNNING') await advance(id, data.agentRunProgress);
}
// </subscriptions>

const again = [];
const afterFirst = urql.subscription(PROGRESS, { id, after: seen[0].cursor });
for await (const { data, hasNext } of toAsyncIterable(afterFirst)) {
  if (!hasNext) break;
  again.push(data.agentRunProgress);
}

const codes = [];
const elsewhere = urql.subscription(PROGRESS, { id, after: 'elsewhere' });
for await (const { error, hasNext } of toAsyncIterable(elsewhere)) {
  if (!hasNext) break;
  codes.push(...error.graphQLErrors.map(({ extensions }) => extensions.code));
}

console.log(JSON.stringify({ seen, again, codes }));
