// Keeps out of the bundle what GraphiQL's packages import but the page never uses. Not a set of patches to behaviour.
import { fileURLToPath } from 'node:url';

import type { Plugin } from 'vite';

// Editor features for other languages, for two documents side by side, or for code assistants.
const UNUSED_FEATURES = [
  'diffEditor',
  'diffEditorBreadcrumbs',
  'codelens',
  'colorPicker',
  'copyPasteContribution',
  'dropIntoEditorContribution',
  'inlineCompletions',
  'suggestInlineCompletions',
  'inlineEdit',
  'inlineEdits',
  'inlayHints',
  'linkedEditing',
  'sectionHeaders',
  'semanticTokens',
  'stickyScroll',
];

const JSON_FORMATTER = fileURLToPath(new URL('src/jsonFormatter.ts', import.meta.url));

function withoutUnusedFeatures(code: string): string {
  const kept = code.split('\n').filter((line) => {
    const words = line.split(/[^A-Za-z]+/);
    return !line.startsWith('import') || !UNUSED_FEATURES.some((feature) => words.includes(feature));
  });
  return kept.join('\n');
}

export function leanImports(): Plugin {
  return {
    name: 'lean-imports',
    enforce: 'pre',
    async resolveId(source, importer) {
      if (!source.startsWith('prettier/')) {
        return null;
      }
      // GraphiQL formats variables with a whole JavaScript parser; the JSON parser it holds anyway does the same.
      if (importer?.endsWith('/utility/jsonc.js')) {
        return JSON_FORMATTER;
      }
      // An older name of the same plugin, which would be bundled a second time.
      if (source === 'prettier/parser-graphql') {
        return this.resolve('prettier/plugins/graphql', importer);
      }
      return null;
    },
    transform(code, id) {
      return id.endsWith('/vs/editor/editor.all.js') ? { code: withoutUnusedFeatures(code), map: null } : null;
    },
  };
}
