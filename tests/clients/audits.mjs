// The audits of GraphQL over HTTP, as their package has them.
import { auditServer } from 'graphql-http';

const results = await auditServer({ url: process.env.DRIFTGRAPH_URL });
const failed = [];
for (const result of results.filter(({ status }) => status !== 'ok')) {
  failed.push(`${result.id} ${result.name}: ${result.reason}`);
}
console.log(JSON.stringify({ audits: results.length, failed }));
