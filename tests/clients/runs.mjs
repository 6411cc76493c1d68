// A run of an agent, which tells how far it has come.
const { DRIFTGRAPH_URL: url, DRIFTGRAPH_TOKEN: token } = process.env;

async function mutate(query, variables) {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` };
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ query, variables }) });
  const { data, errors } = await answer.json();
  const [payload] = Object.values(data ?? {});
  if (errors || payload.userErrors.length > 0) throw new Error(JSON.stringify(errors ?? payload.userErrors));
  return payload.agentRun.id;
}

export const started = () =>
  mutate(
    'mutation($input: AgentRunStartInput!) { agentRunStart(input: $input) { agentRun { id } userErrors { message } } }',
    { input: { kind: 'CODE_QUALITY', agent: 'followed' } },
  );

/** To be called with each event: the run goes on when it has been heard of, and ends when it was heard to go on. */
export function advance(id, { phase }) {
  if (phase === 'reading') {
    return mutate(
      'mutation($input: AgentRunFinishInput!) { agentRunFinish(input: $input) { agentRun { id } userErrors { message } } }',
      { input: { id, conclusion: 'PASS' } },
    );
  }
  return mutate(
    `mutation($input: AgentRunReferenceInput!, $progress: AgentRunProgressInput) {
      agentRunHeartbeat(input: $input, progress: $progress) { agentRun { id } userErrors { message } } }`,
    { input: { id }, progress: { phase: 'reading', done: 3, total: 10 } },
  );
}
