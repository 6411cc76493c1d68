import { fileURLToPath } from 'node:url';

import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

import { leanImports } from './lean.ts';
import { licenceNote } from './licences.ts';

const licences = licenceNote();

export default defineConfig({
  // Absolute, so that the page works at /graphql without a trailing slash.
  base: '/graphql/static/',
  plugins: [leanImports(), react(), licences.forPage()],
  worker: {
    // As modules they load from our own origin like any script, with no blob: in the policy.
    format: 'es',
    plugins: () => [licences.forWorker()],
  },
  build: {
    outDir: fileURLToPath(new URL('../schema/http/static/graphiql', import.meta.url)),
    emptyOutDir: true,
    sourcemap: false,
    target: 'es2022',
    // Workers and fonts must be files of our own origin; only what a package itself wrote as data: stays inline.
    assetsInlineLimit: 0,
    rolldownOptions: {
      // Packages compiled by React's compiler carry its directives, which mean nothing once compiled.
      onwarn: (warning, warn) => (warning.code === 'MODULE_LEVEL_DIRECTIVE' ? undefined : warn(warning)),
    },
    // Monaco is one indivisible chunk.
    chunkSizeWarningLimit: 4000,
  },
});
