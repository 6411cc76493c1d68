// graphql-eslint's own recommended sets, with each exception named beside its reason.
import graphql from '@graphql-eslint/eslint-plugin';

const { SCHEMA_FILE, OPERATIONS_GLOB } = process.env;

// Parts of another object, which are read with it and never by themselves.
const VALUE_TYPES = [
  'AccessReview',
  'ActorReview',
  'AgentRunProgress',
  'AgentTool',
  'ColumnCompleteness',
  'DriftEvidence',
  'EmergencyAccess',
  'FieldCost',
  'OperationCost',
  'PageInfo',
  'ProcedureShare',
  'ReasonShare',
  'RuleCount',
  'SchemaUse',
  'SeverityCounts',
  'UserError',
  'Viewer',
];

const shared = {
  languageOptions: {
    parser: graphql.parser,
    parserOptions: { graphQLConfig: { schema: SCHEMA_FILE, documents: OPERATIONS_GLOB } },
  },
  plugins: { '@graphql-eslint': graphql },
  linterOptions: { reportUnusedDisableDirectives: 'error' },
};

export default [
  {
    ...shared,
    files: ['schema/*.graphql'],
    rules: {
      ...graphql.configs['flat/schema-recommended'].rules,
      ...graphql.configs['flat/schema-relay'].rules,
      // Payloads are answers, not entities: they have no identity to refetch.
      '@graphql-eslint/strict-id-in-types': [
        'error',
        {
          acceptedIdNames: ['id'],
          acceptedIdTypes: ['ID'],
          exceptions: { types: VALUE_TYPES, suffixes: ['Payload', 'Connection', 'Edge'] },
        },
      ],
      // Plain lists are part of the conventions where they are capped, and `nodes` stands beside `edges`.
      '@graphql-eslint/relay-edge-types': [
        'error',
        { withEdgeSuffix: true, shouldImplementNode: true, listTypeCanWrapOnlyEdgeType: false },
      ],
    },
  },
  {
    ...shared,
    files: ['operations/*.graphql'],
    rules: {
      ...graphql.configs['flat/operations-recommended'].rules,
      // Examples show what a person reads; Relay and Apollo add the ids that their caches need themselves.
      '@graphql-eslint/require-selections': 'off',
    },
  },
];
