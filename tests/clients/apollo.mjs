// Apollo Client: automatic persisted queries by GET, pages merged by its cache, errors by their code.
// <client>
import { ApolloClient, ApolloLink, CombinedGraphQLErrors, HttpLink, InMemoryCache, gql } from '@apollo/client';
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries';
import { relayStylePagination } from '@apollo/client/utilities';
import { createHash } from 'node:crypto';

const { DRIFTGRAPH_URL: uri, DRIFTGRAPH_TOKEN: token } = process.env;
const sent = [];

const hashes = new PersistedQueryLink({
  sha256: (text) => createHash('sha256').update(text).digest('hex'),
  useGETForHashedQueries: true,
});
const http = new HttpLink({
  uri,
  headers: { authorization: `Bearer ${token}` },
  fetch: (address, options) => {
    sent.push(`${options.method} ${String(address).includes('query=') || options.body ? 'text' : 'hash'}`);
    return fetch(address, options);
  },
});
const client = () =>
  new ApolloClient({
    link: ApolloLink.from([hashes, http]),
    cache: new InMemoryCache({ typePolicies: { Query: { fields: { payers: relayStylePagination(['orderBy']) } } } }),
  });
// </client>

// <paging>
const PAYERS = gql`
  query ApolloPayers($first: Int!, $after: String) {
    payers(first: $first, after: $after) {
      edges { cursor node { id name } }
      pageInfo { hasNextPage endCursor }
      totalCount
    }
  }
`;

const pages = client().watchQuery({ query: PAYERS, variables: { first: 3 } });
const names = await new Promise((done) => {
  pages.subscribe(({ data, loading }) => {
    if (loading) return;
    const { edges, pageInfo } = data.payers;
    if (pageInfo.hasNextPage) {
      pages.fetchMore({ variables: { after: pageInfo.endCursor } });
    } else {
      done(edges.map(({ node }) => node.name));
    }
  });
});
// </paging>

const ofPages = sent.splice(0);
await client().query({ query: PAYERS, variables: { first: 3 } });
const ofAnotherClient = sent.splice(0);

// <errors>
const codes = [];
try {
  await client().query({ query: gql`{ payers(first: 3, after: "elsewhere") { totalCount } }` });
} catch (error) {
  if (!CombinedGraphQLErrors.is(error)) throw error;
  codes.push(...error.errors.map(({ extensions }) => extensions.code));
}

const MAP = gql`
  mutation ApolloMap($input: PayerMapInput!) {
    payerMap(input: $input) { payer { code } userErrors { code path } }
  }
`;
const mapped = await client().mutate({ mutation: MAP, variables: { input: { rawName: 'Acme', payerCode: '' } } });
codes.push(...mapped.data.payerMap.userErrors.map(({ code }) => code));
// </errors>

console.log(JSON.stringify({ names, codes, ofPages, ofAnotherClient }));
