// graphql-codegen over the exported schema and the acceptance operations; paths come from check.mjs.
import type { CodegenConfig } from '@graphql-codegen/cli';

import { SCALARS } from './scalars.mjs';

const { SCHEMA_FILE = '../../schema/schema.graphql', OPERATIONS_GLOB = '../../schema/operations/*.graphql' } = process.env;

const output = process.env['OUTPUT_DIR'] ?? 'generated';
// strictScalars: a scalar missing from the map is an error, not `any`.
const shared = { scalars: SCALARS, strictScalars: true, enumsAsTypes: true, useTypeImports: true };

const config: CodegenConfig = {
  schema: SCHEMA_FILE,
  documents: OPERATIONS_GLOB,
  generates: {
    // Apart, because both plugins write the enums that operations use.
    [`${output}/schema.ts`]: { plugins: ['typescript'], config: shared },
    [`${output}/operations.ts`]: { plugins: ['typescript-operations'], config: shared },
  },
};

export default config;
