// graphql-ws: a subscription over a WebSocket.
import WebSocket from 'ws';

import { advance, started } from './runs.mjs';

const id = await started();
const seen = [];

// <websocket>
import { createClient } from 'graphql-ws';

const { DRIFTGRAPH_URL: url, DRIFTGRAPH_TOKEN: token } = process.env;
const socket = createClient({
  url: url.replace('http', 'ws'),
  webSocketImpl: WebSocket, // browsers have their own
  connectionParams: { authorization: `Bearer ${token}` },
});

const PROGRESS = `
  subscription FollowBySocket($id: ID!, $after: String) {
    agentRunProgress(id: $id, after: $after) { phase done total status cursor }
  }
`;
for await (const { data, errors } of socket.iterate({ query: PROGRESS, variables: { id } })) {
  if (errors) throw new Error(errors[0].message);
  seen.push(data.agentRunProgress);
  if (data.agentRunProgress.status === 'RUNNING') await advance(id, data.agentRunProgress);
}
// </websocket>

const again = [];
for await (const { data } of socket.iterate({ query: PROGRESS, variables: { id, after: seen[0].cursor } })) {
  again.push(data.agentRunProgress);
}

const codes = [];
try {
  await socket.iterate({ query: PROGRESS, variables: { id, after: 'elsewhere' } }).next();
} catch (errors) {
  codes.push(...errors.map(({ extensions }) => extensions.code));
}
await socket.dispose();

console.log(JSON.stringify({ seen, again, codes }));
