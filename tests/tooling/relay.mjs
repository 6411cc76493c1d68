// Turns operation files into modules that relay-compiler accepts. Relay names operations and fragments after their module,
// so they are renamed on the way; nothing else of the document changes.
import { Kind, parse, print, visit } from 'graphql';

const SUFFIX = { query: 'Query', mutation: 'Mutation', subscription: 'Subscription' };

/** The fragments that a definition needs, its own and those of its fragments, each once. */
function neededFragments(definition, fragments, found = new Map()) {
  visit(definition, {
    FragmentSpread({ name }) {
      const fragment = fragments.get(name.value);
      if (fragment !== undefined && !found.has(name.value)) {
        found.set(name.value, fragment);
        neededFragments(fragment, fragments, found);
      }
    },
  });
  return found;
}

function renamed(node, name) {
  return { ...node, name: { kind: Kind.NAME, value: name } };
}

function moduleText(definitions) {
  const tags = definitions.map((definition, index) => `export const d${index} = graphql\`\n${print(definition)}\n\`;`);
  return ["import { graphql } from 'relay-runtime';", ...tags, ''].join('\n\n');
}

/** `[file name, text]` for each operation of a document; anonymous operations are named after their file. */
export function relayModules(source, stem) {
  const { definitions } = parse(source);
  const fragments = new Map(definitions.filter((d) => d.kind === Kind.FRAGMENT_DEFINITION).map((d) => [d.name.value, d]));
  return definitions
    .filter((definition) => definition.kind === Kind.OPERATION_DEFINITION)
    .map((operation) => {
      const module = `${stem.replaceAll(/[^A-Za-z0-9]/g, '')}${operation.name?.value ?? ''}`;
      const rename = (node) =>
        visit(node, { FragmentSpread: (spread) => renamed(spread, `${module}_${spread.name.value}`) });
      const ours = [...neededFragments(operation, fragments).values()];
      return [
        `${module}.ts`,
        moduleText([
          renamed(rename(operation), `${module}${SUFFIX[operation.operation]}`),
          ...ours.map((fragment) => renamed(rename(fragment), `${module}_${fragment.name.value}`)),
        ]),
      ];
    });
}
