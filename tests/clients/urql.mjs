// urql: pages merged by its normalized cache, automatic persisted queries, errors by their code.
// <client>
import { Client, fetchExchange, gql } from '@urql/core';
import { cacheExchange } from '@urql/exchange-graphcache';
import { relayPagination } from '@urql/exchange-graphcache/extras';
import { persistedExchange } from '@urql/exchange-persisted';

const { DRIFTGRAPH_URL: url, DRIFTGRAPH_TOKEN: token } = process.env;
const sent = [];

const client = () =>
  new Client({
    url,
    preferGetMethod: false,
    fetchOptions: { headers: { authorization: `Bearer ${token}` } },
    fetch: (address, options) => {
      sent.push(`${options.method} ${address.includes('query=') || options.body ? 'text' : 'hash'}`);
      return fetch(address, options);
    },
    exchanges: [
      cacheExchange({ resolvers: { Query: { payers: relayPagination() } } }),
      persistedExchange({ preferGetForPersistedQueries: true }),
      fetchExchange,
    ],
  });
// </client>

// <paging>
const PAYERS = gql`
  query UrqlPayers($first: Int!, $after: String) {
    payers(first: $first, after: $after) {
      edges { cursor node { id name } }
      pageInfo { hasNextPage endCursor }
    }
  }
`;

const urql = client();
let variables = { first: 3 };
let result = await urql.query(PAYERS, variables).toPromise();
while (result.data.payers.pageInfo.hasNextPage) {
  variables = { first: 3, after: result.data.payers.pageInfo.endCursor };
  result = await urql.query(PAYERS, variables).toPromise();
}
const names = result.data.payers.edges.map(({ node }) => node.name);
// </paging>

const ofPages = sent.splice(0);
await client().query(PAYERS, { first: 3 }).toPromise();
const ofAnotherClient = sent.splice(0);

// <errors>
const codes = [];
const { error } = await urql.query(gql`{ payers(first: 3, after: "elsewhere") { totalCount } }`, {}).toPromise();
codes.push(...error.graphQLErrors.map(({ extensions }) => extensions.code));

const MAP = gql`
  mutation UrqlMap($input: PayerMapInput!) {
    payerMap(input: $input) { payer { id code } userErrors { code path } }
  }
`;
const mapped = await urql.mutation(MAP, { input: { rawName: 'Acme', payerCode: '' } }).toPromise();
codes.push(...mapped.data.payerMap.userErrors.map(({ code }) => code));
// </errors>

console.log(JSON.stringify({ names, codes, ofPages, ofAnotherClient }));
