// Formats JSON with comments behind the part of prettier's interface that GraphiQL calls. Not a general formatter.
import { applyEdits, format as formatEdits } from 'jsonc-parser';

export const printers = {};
export const parsers = {};

export function format(content: string): string {
  const options = { insertSpaces: true, tabSize: 2, eol: '\n' };
  return applyEdits(content, formatEdits(content, undefined, options));
}
