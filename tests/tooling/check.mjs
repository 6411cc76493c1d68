// Runs relay-compiler, graphql-codegen with tsc, and graphql-eslint; ends with 1 if any of them complains.
// Usage: npm run check [-- SCHEMA_FILE OPERATIONS_FOLDER]
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { relayModules } from './relay.mjs';
import { SCALARS } from './scalars.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const [schemaFile = '../../schema/schema.graphql', operationsFolder = '../../schema/operations'] = process.argv.slice(2);

/** A folder with copies of the inputs, so that every tool sees the same plain layout and writes nothing into the checkout. */
function stage() {
  const work = mkdtempSync(join(tmpdir(), 'schema-check-'));
  mkdirSync(join(work, 'schema'));
  mkdirSync(join(work, 'relay', 'generated'), { recursive: true });
  cpSync(resolve(HERE, schemaFile), join(work, 'schema', 'schema.graphql'));
  cpSync(resolve(HERE, operationsFolder), join(work, 'operations'), { recursive: true });
  const operations = readdirSync(join(work, 'operations')).filter((name) => name.endsWith('.graphql'));
  if (operations.length === 0) {
    throw new Error(`${operationsFolder} holds no .graphql file`);
  }
  for (const name of operations) {
    const source = readFileSync(join(work, 'operations', name), 'utf8');
    for (const [file, text] of relayModules(source, basename(name, '.graphql'))) {
      writeFileSync(join(work, 'relay', file), text);
    }
  }
  writeFileSync(
    join(work, 'relay.config.json'),
    JSON.stringify({
      src: './relay',
      schema: './schema/schema.graphql',
      language: 'typescript',
      artifactDirectory: './relay/generated',
      customScalarTypes: SCALARS,
    }),
  );
  return work;
}

function run(title, work, tool, args, cwd = work) {
  const env = {
    ...process.env,
    SCHEMA_FILE: join(work, 'schema', 'schema.graphql'),
    OPERATIONS_GLOB: join(work, 'operations', '*.graphql'),
    OUTPUT_DIR: join(work, 'types'),
  };
  const result = spawnSync(join(HERE, 'node_modules', '.bin', tool), args, { cwd, env, encoding: 'utf8' });
  const passed = result.status === 0;
  console.log(`${passed ? 'ok    ' : 'FAILED'} ${title}`);
  if (!passed) {
    console.log(`${result.error?.message ?? ''}${result.stdout ?? ''}${result.stderr ?? ''}`.replaceAll(`${work}/`, ''));
  }
  return passed;
}

const TSC = ['--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2023,dom'];
const work = stage();
try {
  const results = [
    run('relay-compiler', work, 'relay-compiler', ['relay.config.json']),
    // The generator looks for its plugins where it runs.
    run('graphql-codegen', work, 'graphql-codegen', ['--config', 'codegen.ts'], HERE) &&
      run('tsc on the generated types', work, 'tsc', [...TSC, 'types/schema.ts', 'types/operations.ts']),
    run('graphql-eslint', work, 'eslint', ['--config', join(HERE, 'eslint.config.mjs'), '--max-warnings', '0', '.']),
  ];
  process.exitCode = results.every(Boolean) ? 0 : 1;
} finally {
  rmSync(work, { recursive: true });
}
