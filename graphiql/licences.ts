// Writes LICENSES.txt: every package with code in the bundle, its version and its licence text. Not a build step of its own.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import type { Plugin } from 'vite';

const LICENCE_FILE = /^(licen[cs]e|copying|notice|thirdpartynotices)(\.(txt|md))?$/i;
const RULE = '-'.repeat(78);

interface PackageFacts {
  name: string;
  version: string;
  license?: string;
  author?: string | { name: string };
}

/** The folder of the package that owns a bundled module, or undefined for our own source. */
function packageFolder(moduleId: string): string | undefined {
  const path = moduleId.replace(/^\0/, '').split('?')[0] ?? '';
  const end = path.lastIndexOf('node_modules/');
  if (end < 0) {
    return undefined;
  }
  const [scope = '', name = ''] = path.slice(end + 'node_modules/'.length).split('/');
  const folder = path.slice(0, end) + 'node_modules/' + (scope.startsWith('@') ? `${scope}/${name}` : scope);
  return existsSync(join(folder, 'package.json')) ? folder : undefined;
}

function licenceTexts(folder: string): string[] {
  return readdirSync(folder)
    .filter((file) => LICENCE_FILE.test(file))
    .sort()
    .map((file) => readFileSync(join(folder, file), 'utf8').replaceAll('\r\n', '\n').trim());
}

/** One section of the note: package, licence name, holder when no licence file names one, licence texts. */
function section(folder: string): [heading: string, text: string] {
  const facts = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as PackageFacts;
  if (!facts.license) {
    throw new Error(`${facts.name} names no licence: decide about it before it is shipped`);
  }
  const texts = licenceTexts(folder);
  const author = typeof facts.author === 'object' ? facts.author.name : facts.author;
  const holder = texts.length === 0 && author ? [`Author: ${author}`] : [];
  const heading = `${facts.name} ${facts.version}`;
  return [heading, [RULE, heading, `Licence: ${facts.license}`, ...holder, RULE, '', ...texts, ''].join('\n')];
}

function note(folders: Iterable<string>): string {
  const sections = new Map([...folders].map(section));
  const ordered = [...sections.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, text]) => text);
  return ['This folder holds code of the packages below, each under its own licence.', '', ...ordered].join('\n');
}

/** Two plugins that share one list: workers are bundled apart from the page, and before it is written. */
export function licenceNote(): { forPage: () => Plugin; forWorker: () => Plugin } {
  const folders = new Set<string>();
  const collect = (moduleIds: Iterable<string>) => {
    for (const id of moduleIds) {
      const folder = packageFolder(id);
      if (folder !== undefined) {
        folders.add(dirname(join(folder, 'package.json')));
      }
    }
  };
  return {
    forWorker: () => ({
      name: 'licence-note-worker',
      generateBundle() {
        collect(this.getModuleIds());
      },
    }),
    forPage: () => ({
      name: 'licence-note-page',
      apply: 'build',
      generateBundle() {
        collect(this.getModuleIds());
        this.emitFile({ type: 'asset', fileName: 'LICENSES.txt', source: note(folders) });
      },
    }),
  };
}
