// What relay-compiler reads: the first page, and the query that it makes for the others.
// <operations>
import { graphql } from 'relay-runtime';

export const payersQuery = graphql`
  query payersQuery($count: Int!) {
    ...payers_list @arguments(count: $count)
  }
`;

export const payersList = graphql`
  fragment payers_list on Query
  @argumentDefinitions(count: { type: "Int!" }, cursor: { type: "String" })
  @refetchable(queryName: "payersNextQuery") {
    payers(first: $count, after: $cursor) @connection(key: "list_payers") {
      edges { node { id name } }
      pageInfo { hasNextPage endCursor }
    }
  }
`;
// </operations>
