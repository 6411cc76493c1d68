// graphql-sse: a subscription as server-sent events, one connection each.
import { advance, started } from './runs.mjs';

const id = await started();
const seen = [];

// <events>
import { createClient } from 'graphql-sse';

const { DRIFTGRAPH_URL: url, DRIFTGRAPH_TOKEN: token } = process.env;
const events = createClient({ url, headers: { authorization: `Bearer ${token}` } });

const PROGRESS = `
  subscription FollowByEvents($id: ID!, $after: String) {
    agentRunProgress(id: $id, after: $after) { phase done total status cursor }
  }
`;
for await (const { data, errors } of events.iterate({ query: PROGRESS, variables: { id } })) {
  if (errors) throw new Error(errors[0].message);
  seen.push(data.agentRunProgress);
  if (data.agentRunProgress.status === 'RUNNING') await advance(id, data.agentRunProgress);
}
// </events>

const again = [];
for await (const { data } of events.iterate({ query: PROGRESS, variables: { id, after: seen[0].cursor } })) {
  again.push(data.agentRunProgress);
}

const codes = [];
for await (const { errors } of events.iterate({ query: PROGRESS, variables: { id, after: 'elsewhere' } })) {
  codes.push(...errors.map(({ extensions }) => extensions.code));
}

console.log(JSON.stringify({ seen, again, codes }));
