// A fetch for any client, with which every answer shows what the page has written before.
const { DRIFTGRAPH_URL: url, DRIFTGRAPH_TOKEN: token } = process.env;

// <fetch>
const HEADER = 'driftgraph-consistency-token';
let written; // by the latest mutation

export async function fetchWritten(address, options) {
  const headers = new Headers(options.headers);
  if (written) headers.set(HEADER, written);
  const answer = await fetch(address, { ...options, headers });
  written = answer.headers.get(HEADER) ?? written;
  return answer;
}
// </fetch>

async function ask(query) {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` };
  const answer = await fetchWritten(url, { method: 'POST', headers, body: JSON.stringify({ query }) });
  return answer.json();
}

await ask('mutation { payerMap(input: {rawName: "The first payer", payerCode: "payer 0"}) { userErrors { code } } }');
const sent = Boolean(written);
const { data, errors } = await ask('query Written { payers(first: 1) { nodes { name } } }');
console.log(JSON.stringify({ sent, names: data?.payers.nodes.map(({ name }) => name), errors }));
